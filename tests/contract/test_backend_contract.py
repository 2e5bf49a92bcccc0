"""What every Backend must do, run on every Backend."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from backend_checks import check_bits_on_threads
from onnx.reference import ReferenceEvaluator

from restore_sdk.backends.base import Backend
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.backends.opening import open_backend
from restore_sdk.spec import ModelSpec
from restore_sdk.tiling.plan import Span, plan_tiles
from restore_sdk.tiling.walk import walk

ONE_THREAD = {"device": "cpu", "threads": 1}
HALO = 12  # of the small network's exact tiles, pixels

# Largest difference of exact tiles to the whole image: nothing, or the rounding of sums taken in another order. PyTorch picks a
# convolution by the size of its input.
TILE_TOLERANCE = {"function": 2e-6, "onnxruntime": 0.0, "openvino": 0.0, "torch": 2e-6}


def reference(model: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The small network in the onnx package's own numpy evaluator."""
    evaluator = ReferenceEvaluator(str(model))
    return lambda batch: evaluator.run(None, {"image": batch})[0]


def opened(name: str, request: pytest.FixtureRequest) -> Backend:
    model, spec = request.getfixturevalue("small_model"), request.getfixturevalue("small_spec")
    if name == "function":
        return FunctionBackend(spec, reference(model))
    path = request.getfixturevalue("small_program") if name == "torch" else model
    return open_backend(path, backend=name, **ONE_THREAD)


@pytest.fixture(scope="module", params=TILE_TOLERANCE)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    tested = opened(request.param, request)
    yield tested
    tested.close()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 0.3, shape).astype(np.float32)


def test_spec_is_the_stamped_one(backend: Backend, small_spec: ModelSpec) -> None:
    assert backend.spec.to_json() == small_spec.to_json()


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (1, 3, 8, 20), (3, 3, 12, 4)])
def test_output_agrees_with_the_reference(backend: Backend, small_model: Path, shape: tuple[int, ...]) -> None:
    batch = noise(*shape)
    restored = backend.infer(batch)
    assert (restored.shape, restored.dtype) == (shape, np.float32)
    np.testing.assert_allclose(restored, reference(small_model)(batch), atol=2e-5)


def test_input_is_not_written_and_output_is_the_callers(backend: Backend) -> None:
    batch = noise(1, 3, 8, 8)
    before = batch.tobytes()
    batch.setflags(write=False)
    first = backend.infer(batch)
    kept = first.copy()
    backend.infer(noise(1, 3, 8, 8, seed=1))
    assert batch.tobytes() == before
    assert not np.shares_memory(first, batch)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0


def test_images_of_a_batch_do_not_mix(backend: Backend) -> None:
    batch = noise(3, 3, 8, 8)
    alone = np.concatenate([backend.infer(batch[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(backend.infer(batch), alone, atol=2e-5)


def test_non_contiguous_batch(backend: Backend) -> None:
    batch = noise(1, 3, 16, 16)[:, :, ::2, ::-2]
    np.testing.assert_array_equal(backend.infer(batch), backend.infer(np.ascontiguousarray(batch)))


def test_threads_get_the_bits_of_one_thread(backend: Backend) -> None:
    check_bits_on_threads(backend, [noise(1, 3, 8, 8 + 4 * i, seed=i) for i in range(4)], threads=4)


@pytest.mark.parametrize(
    ("height", "width", "core"), [(64, 96, 16), (52, 36, 20), (48, 120, 28), (100, 44, 32), (132, 140, 48), (24, 24, 4)]
)
def test_exact_tiles_agree_with_the_whole_image(backend: Backend, height: int, width: int, core: int) -> None:
    batch = noise(1, 3, height, width, seed=height)
    whole, tiled = backend.infer(batch), np.full_like(batch, np.nan)

    def read(rows: Span, columns: Span) -> np.ndarray:
        return batch[:, :, rows.outer_slice, columns.outer_slice]

    def write(rows: Span, columns: Span, kept: np.ndarray) -> None:
        tiled[:, :, rows.core_slice, columns.core_slice] = kept

    walk(plan_tiles(height, width, core=core, halo=HALO, multiple=4), read, backend.infer, write)
    assert np.abs(tiled - whole).max() <= TILE_TOLERANCE[str(backend.report()["backend"])]  # false for NaN


def test_a_shape_gives_the_same_bits_again(backend: Backend) -> None:
    batch = noise(1, 3, 20, 24)
    first = backend.infer(batch)
    backend.infer(noise(2, 3, 8, 40))
    np.testing.assert_array_equal(backend.infer(batch), first)


def test_warm_up_takes_several_shapes(backend: Backend) -> None:
    backend.warm_up([(1, 3, 8, 8), (2, 3, 4, 12)])
    backend.warm_up([])


def test_report_is_json_and_names_what_runs(backend: Backend) -> None:
    report = dict(backend.report())
    assert json.loads(json.dumps(report)) == report
    assert {"backend", "version", "device", "precision"} <= set(report)
    assert report["device"] == "cpu"


@pytest.mark.parametrize("name", TILE_TOLERANCE)
def test_closing_twice_is_fine(name: str, request: pytest.FixtureRequest) -> None:
    backend = opened(name, request)
    backend.close()
    backend.close()
