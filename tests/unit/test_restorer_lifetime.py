"""Opening, reporting, closing, threads, memory, and what a process loads."""

import gc
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import restore_sdk
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.errors import MaskError, ModelNotFoundError, OptionsError, RestorerClosedError
from restore_sdk.options import TileOptions
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

SPEC = ModelSpec(name="f", method="m", task="denoise", size_multiple=4, receptive_radius=0)
Open = Callable[..., Restorer]


@pytest.fixture
def open_small(small_model: Path) -> Open:
    return lambda **arguments: Restorer(small_model, device="cpu", threads=1, **arguments)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


class Recording(FunctionBackend):
    """Says which shapes were warmed and whether it was closed."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, lambda batch: batch)
        self.warmed: list[tuple[int, ...]] = []
        self.closed = 0

    def warm_up(self, shapes) -> None:
        self.warmed += shapes

    def close(self) -> None:
        self.closed += 1


def test_unknown_model_lists_what_there_is() -> None:
    with pytest.raises(ModelNotFoundError, match=r"no model 'no-such-model'; bundled models are: .*the path of an \.onnx file"):
        Restorer("no-such-model")


@pytest.mark.parametrize("model", [None, 5, b"denoise", ModelSpec])
def test_model_that_is_none(model: object) -> None:
    with pytest.raises(
        OptionsError, match=r"model=.* expected a bundled name, the path of an .onnx, .pt2 or .plan file, or an opened Backend"
    ):
        Restorer(model)


@pytest.mark.parametrize("kind", [str, Path])
def test_model_by_path(small_model: Path, kind: type) -> None:
    with Restorer(kind(small_model), device="cpu", threads=1) as restorer:
        assert restorer.spec.name == "small"


def test_mask_for_a_model_that_takes_none(restorer: Restorer) -> None:
    with pytest.raises(MaskError, match="'small' takes no mask"):
        restorer(noise(8, 8, 3), np.zeros((8, 8), bool))


def test_mask_beside_a_file_for_a_model_that_takes_none(restorer: Restorer, tmp_path: Path) -> None:
    Image.fromarray((noise(8, 8, 3) * 255).clip(0, 255).astype(np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(MaskError, match="'small' takes no mask"):
        restorer.restore_file(tmp_path / "a.png", tmp_path / "b.png", mask=np.ones((8, 8), bool))
    assert not (tmp_path / "b.png").exists()


def test_a_model_that_fills_in_says_how_it_is_told() -> None:
    filling = Restorer(FunctionBackend(ModelSpec(name="fill", method="m", task="inpaint"), lambda batch: batch))
    with pytest.raises(MaskError, match="'fill' takes no mask; leave it out, and make black what is to be filled in"):
        filling(noise(8, 8, 3), np.ones((8, 8), bool))


def test_model_that_needs_a_mask_is_refused_with_a_remedy() -> None:
    spec = ModelSpec(name="fill", method="m", task="inpaint", inputs=("image", "mask"))
    filling = Restorer(FunctionBackend(spec, lambda batch: batch))
    for mask in (None, np.ones((8, 8), bool)):
        with pytest.raises(MaskError, match=r"'fill' needs a mask.*upgrade"):
            filling(noise(8, 8, 3), mask)


def test_restore_and_call_are_one(restorer: Restorer) -> None:
    image = noise(9, 14, 3)
    np.testing.assert_array_equal(restorer(image), restorer.restore(image))


def test_restore_many_is_lazy_and_in_order(restorer: Restorer) -> None:
    images = [noise(6 + i, 9, 3, seed=i) for i in range(4)]
    taken = []

    def source():
        for i, image in enumerate(images):
            taken.append(i)
            yield image

    results = restorer.restore_many(source(), channel_order="bgr")
    assert taken == []
    first = next(results)
    assert taken == [0]
    np.testing.assert_array_equal(first, restorer(images[0], channel_order="bgr"))
    for image, result in zip(images[1:], results, strict=True):
        np.testing.assert_array_equal(result, restorer(image, channel_order="bgr"))


def test_report_is_json_and_says_what_ran(open_small: Open, small_spec: ModelSpec) -> None:
    restorer = open_small(tile=32, clip=False)
    report = restorer.report()
    assert json.loads(json.dumps(report)) == report
    assert (report["backend"], report["device"], report["model"], report["sdk"]) == (
        "onnxruntime", "cpu", small_spec.name, restore_sdk.__version__,
    )  # fmt: skip
    assert report["sha256"] == restorer.spec.sha256 != ""
    assert (report["channel_order"], report["clip"], report["last_plan"]) == ("rgb", False, None)
    assert report["tile"] == {"mode": "exact", "core": 32, "batch": 1, "memory_mb": 768}
    restorer(noise(64, 30, 3))
    assert restorer.report()["last_plan"] == {
        "height": 64, "width": 32, "halo": 12, "tiles": 2, "rows": 2, "columns": 1, "overhead": 1 + 24 / 64,
        "largest_tile": [44, 32],
    }  # fmt: skip


def test_warm_up_runs_the_shapes_of_the_plan() -> None:
    backend = Recording(SPEC)
    Restorer(backend).warm_up()
    assert backend.warmed == [(1, 3, 256, 256)]
    Restorer(backend, tile=None).warm_up((30, 41))
    assert backend.warmed[1:] == [(1, 3, 32, 44)]


def test_warm_up_of_tiles_knows_batches_and_halos() -> None:
    backend = Recording(ModelSpec(name="f", method="m", task="denoise", size_multiple=4, receptive_radius=4))
    Restorer(backend, tile=TileOptions(core=16, batch=8)).warm_up((48, 16))
    assert sorted(backend.warmed) == [(1, 3, 20, 16), (1, 3, 24, 16), (3, 3, 20, 16), (3, 3, 24, 16)]


@pytest.mark.parametrize("shape", [(0, 8), (8,), (8, 8, 3), (8.0, 8), 3, None, (True, True), (10**9, 10**9)])
def test_warm_up_of_no_shape(restorer: Restorer, shape: tuple) -> None:
    with pytest.raises(OptionsError, match="shape="):
        restorer.warm_up(shape)


def test_warm_up_on_the_real_runtime(open_small: Open) -> None:
    open_small(tile=TileOptions(core=16, batch=2)).warm_up((40, 40))


def test_closing_twice_is_fine_and_use_afterwards_is_not(open_small: Open, tmp_path: Path) -> None:
    restorer = open_small()
    restorer.close()
    restorer.close()
    uses = [
        lambda: restorer(noise(8, 8, 3)),
        lambda: restorer.restore_many([]),
        lambda: restorer.restore_file(tmp_path / "a.png", tmp_path / "b.png"),
        restorer.warm_up,
        restorer.report,
        restorer.__enter__,
    ]
    for use in uses:
        with pytest.raises(RestorerClosedError, match="open a new one"):
            use()
    assert restorer.spec.name == "small"


def test_with_closes(open_small: Open) -> None:
    with open_small() as restorer:
        images = restorer.restore_many([noise(8, 8, 3)])
    with pytest.raises(RestorerClosedError):
        next(images)


def test_a_backend_given_stays_open() -> None:
    backend = Recording(SPEC)
    with Restorer(backend) as restorer:
        restorer(noise(8, 8, 3))
    assert backend.closed == 0
    with pytest.raises(RestorerClosedError):
        restorer(noise(8, 8, 3))


def test_eight_threads_give_the_bits_of_one(restorer: Restorer) -> None:
    images = [noise(20 + 3 * i, 50 - 2 * i, 3, seed=i) for i in range(16)]
    tiles = [None, 16, "auto", TileOptions(core=16, batch=2)]
    jobs = [(image, tile) for image in images for tile in tiles]
    alone = [restorer(image, tile=tile) for image, tile in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: restorer(job[0], tile=job[1]), jobs))
    for expected, got in zip(alone, together, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_closing_under_running_calls(open_small: Open) -> None:
    restorer, image = open_small(tile=16), noise(64, 64, 3)
    expected, started, outcomes = restorer(image), threading.Barrier(5), []

    def work() -> None:
        started.wait()
        try:
            while True:
                np.testing.assert_array_equal(restorer(image), expected)
        except (RestorerClosedError, AssertionError) as exc:
            outcomes.append(type(exc))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    restorer(image)
    restorer.close()
    for thread in threads:
        thread.join(timeout=30)
    assert outcomes == [RestorerClosedError] * 4


def test_two_thousand_calls_leave_memory_flat(restorer: Restorer) -> None:
    image, process = noise(32, 32, 3), psutil.Process()

    def grown(calls: int) -> int:
        gc.collect()
        before = process.memory_info().rss
        for _ in range(calls):
            restorer(image)
        gc.collect()
        return process.memory_info().rss - before

    grown(200)
    assert grown(2000) < 4 * 2**20  # 2 kB a call: one lost result of 3 kB each would show


def test_a_restore_loads_no_torch(small_model: Path) -> None:
    code = (
        "import sys, numpy as np; from restore_sdk import Restorer\n"
        f"with Restorer({str(small_model)!r}, device='cpu', threads=1) as r: r(np.zeros((9, 9, 3), np.uint8))\n"
        "print(*(name for name in ('torch', 'onnx', 'PIL', 'typer', 'rich') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize("order", ["", 0, []])
def test_an_empty_channel_order_is_not_the_constructors(order: object, restorer: Restorer) -> None:
    with pytest.raises(OptionsError, match="channel_order"):
        restorer.restore(np.zeros((8, 8, 3), np.uint8), channel_order=order)


@pytest.mark.parametrize(
    "arguments", [{"threads": 100_000}, {"threads": 10**12}, {"backend": []}, {"device": "cuda:\N{ARABIC-INDIC DIGIT ONE}"}]
)
def test_arguments_that_no_runtime_may_see(arguments: dict, small_model: Path) -> None:
    with pytest.raises(OptionsError, match=next(iter(arguments))):
        Restorer(small_model, **arguments)


def test_a_generator_that_raises_ends_the_iteration_and_nothing_else(restorer: Restorer) -> None:
    def images():
        yield np.zeros((8, 8, 3), np.uint8)
        raise OSError("camera gone")

    results = restorer.restore_many(images())
    assert next(results).shape == (8, 8, 3)
    with pytest.raises(OSError, match="camera gone"):
        next(results)
    assert list(results) == []
    assert restorer.restore(np.zeros((8, 8), np.uint8)).shape == (8, 8)
