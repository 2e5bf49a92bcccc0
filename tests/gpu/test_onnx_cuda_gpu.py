"""ONNX Runtime's CUDA provider on a real GPU: bits, graphs, callers' arrays, memory. Written from ONNX Runtime's sources and
documentation; see docs/backends.md for where it was run. Callers' arrays are PyTorch's here, only because tests have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from backend_checks import check_bits_on_threads, check_closed_twice

from restore_sdk.backends.file_backend import FileBackend
from restore_sdk.backends.onnx_cuda import GRAPHS, OnnxCudaBackend
from restore_sdk.backends.onnx_providers import GpuOptions
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.errors import DeviceMemoryError, DeviceUnavailableError, MissingExtraError
from restore_sdk.restorer import Restorer

pytestmark = pytest.mark.gpu
ZOO = Path(__file__).parents[2] / "restore_sdk" / "zoo" / "denoise.onnx"
GRAPH_SHAPES = [(1, 3, 64, 64), (1, 3, 64, 96)]


@pytest.fixture(scope="module", autouse=True)
def _gpu() -> None:
    try:
        open_onnxruntime(ZOO, device="cuda").close()
    except (DeviceUnavailableError, MissingExtraError) as exc:
        pytest.skip(f"ONNX Runtime has no CUDA here: {exc}")


@pytest.fixture
def backend() -> Iterator[OnnxCudaBackend]:
    opened = open_onnxruntime(ZOO, device="cuda")
    assert isinstance(opened, OnnxCudaBackend)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def on_cpu() -> Iterator[FileBackend]:
    opened = open_onnxruntime(ZOO, device="cpu")
    yield opened
    opened.close()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def free_memory() -> int:
    """Bytes free on GPU 0, by the driver, in whatever context this thread has."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU, and it tells how much memory is free")
    return int(torch.cuda.mem_get_info(0)[0])


def test_same_numbers_as_the_cpu(backend: OnnxCudaBackend, on_cpu: FileBackend) -> None:
    for shape in ((1, 3, 8, 8), (1, 3, 104, 136), (3, 3, 56, 40), (1, 3, 512, 384)):
        np.testing.assert_allclose(backend.infer(noise(*shape)), on_cpu.infer(noise(*shape)), atol=1e-4)


def test_report_says_what_runs(backend: OnnxCudaBackend) -> None:
    report = backend.report()
    assert (report["backend"], report["device"]) == ("onnxruntime", "cuda:0")
    assert report["gpu"]["use_tf32"] == "0"  # type: ignore[index]
    assert report["gpu"]["cudnn_conv_algo_search"] == "HEURISTIC"  # type: ignore[index]


def test_graphs_give_the_bits_of_plain_runs(backend: OnnxCudaBackend) -> None:
    batches = [noise(*shape, seed=seed) for seed, shape in enumerate(GRAPH_SHAPES * 2)]
    before = [backend.infer(batch) for batch in batches]
    backend.warm_up(GRAPH_SHAPES)
    assert backend.report()["cuda_graphs"] == [list(shape) for shape in GRAPH_SHAPES]
    for batch, want in zip(batches, before, strict=True):
        np.testing.assert_array_equal(backend.infer(batch), want)


def test_more_shapes_than_graphs(backend: OnnxCudaBackend, on_cpu: FileBackend) -> None:
    shapes = [(1, 3, 32, 32 + 8 * number) for number in range(GRAPHS + 3)]
    backend.warm_up(shapes)
    for shape in (*shapes, *reversed(shapes)):
        np.testing.assert_allclose(backend.infer(noise(*shape)), on_cpu.infer(noise(*shape)), atol=1e-4)


def test_a_replay_after_larger_shapes_is_still_right(backend: OnnxCudaBackend) -> None:
    backend.warm_up(GRAPH_SHAPES[:1])
    batch = noise(*GRAPH_SHAPES[0])
    first = backend.infer(batch)
    for side in (256, 640, 128):
        backend.infer(noise(1, 3, side, side))
    np.testing.assert_array_equal(backend.infer(batch), first)


def test_tiles_agree_with_the_whole_image() -> None:
    image = noise(360, 430, 3)
    with Restorer(ZOO, backend="onnxruntime", device="cuda") as restorer:
        restorer.warm_up((360, 430))
        np.testing.assert_allclose(restorer.restore(image, tile=128), restorer.restore(image, tile=None), atol=1e-4)


def test_eight_threads_get_the_bits_of_one(backend: OnnxCudaBackend) -> None:
    backend.warm_up(GRAPH_SHAPES)
    check_bits_on_threads(backend, [noise(1, 3, 64, 64 + 32 * (i % 4), seed=i) for i in range(32)])


@pytest.mark.parametrize("default_stream", [True, False])
def test_callers_arrays_on_the_callers_stream(backend: OnnxCudaBackend, default_stream: bool) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU, and its arrays stand for the caller's")
    batch = noise(1, 3, 256, 256)
    want = backend.infer(batch)
    backend.infer_on_device(*_pointers(torch.zeros(1, 3, 8, 8, device="cuda")), (1, 3, 8, 8), 0)  # opens a session
    stream = torch.cuda.default_stream() if default_stream else torch.cuda.Stream()
    with torch.cuda.stream(stream):
        given, restored = (torch.empty(batch.shape, device="cuda") for _ in range(2))
        for _ in range(20):  # the input is overwritten after each call: whoever reads too early or late reads -1
            given.fill_(-1)
            restored.fill_(-1)
            torch.cuda._sleep(5_000_000)  # cycles
            given.copy_(torch.from_numpy(batch), non_blocking=True)
            backend.infer_on_device(given.data_ptr(), restored.data_ptr(), (1, 3, 256, 256), stream.cuda_stream)
            given.fill_(-1)
            np.testing.assert_allclose(restored.cpu().numpy(), want, atol=1e-5)


def _pointers(array: object) -> tuple[int, int]:
    return array.data_ptr(), array.data_ptr()  # type: ignore[attr-defined]


def test_out_of_memory_is_typed_and_survived() -> None:
    backend = open_onnxruntime(ZOO, device="cuda", gpu=GpuOptions(memory_mib=256))
    before = backend.infer(noise(1, 3, 64, 64))
    with pytest.raises(DeviceMemoryError) as caught:
        backend.infer(noise(1, 3, 2048, 2048))
    assert caught.value.tile == (2048, 2048)
    np.testing.assert_array_equal(backend.infer(noise(1, 3, 64, 64)), before)
    backend.close()


def test_memory_does_not_grow(backend: OnnxCudaBackend) -> None:
    backend.warm_up(GRAPH_SHAPES[:1])
    batches = [noise(1, 3, 64, 64), noise(1, 3, 128, 96)]
    for batch in batches * 5:
        backend.infer(batch)
    before = free_memory()
    for batch in batches * 500:
        backend.infer(batch)
    assert before - free_memory() < 8 << 20


def test_closing_gives_the_memory_back() -> None:
    open_onnxruntime(ZOO, device="cuda").close()
    before = free_memory()
    for _ in range(5):
        opened = open_onnxruntime(ZOO, device="cuda")
        opened.infer(noise(1, 3, 512, 512))
        opened.close()
    assert before - free_memory() < 64 << 20


def test_use_after_close(backend: OnnxCudaBackend) -> None:
    check_closed_twice(backend, noise(1, 3, 8, 8))


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(DeviceUnavailableError):
        open_onnxruntime(ZOO, device="cuda:99")


@pytest.mark.parametrize("provider", ["tensorrt", "rtx"])
def test_tensorrt_providers_where_they_are_installed(provider, on_cpu: FileBackend, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path))
        try:
            opened = open_onnxruntime(ZOO, device="cuda", provider=provider)
        except (DeviceUnavailableError, MissingExtraError) as exc:
            pytest.skip(str(exc))
        batch = noise(1, 3, 256, 320)
        np.testing.assert_allclose(opened.infer(batch), on_cpu.infer(batch), atol=1e-2)  # TensorRT 10 may use TF32
        assert opened.report()["backend"] == f"onnxruntime-{provider}"
        opened.close()
