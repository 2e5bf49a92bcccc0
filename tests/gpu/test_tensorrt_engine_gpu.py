"""The TensorRT backend on a real GPU, with whichever TensorRT is installed. Written from its documentation; see docs/backends.md
for where it was run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backend_checks import check_bits_on_threads, check_closed_twice
from gpu_programs import require_compiler
from gpu_reasons import skip_if_unsupported

from export.precision import half_wrapped
from export.stamp import stamped
from export.to_onnx import serialised, trace
from restore_sdk.backends.background import BackgroundBackend
from restore_sdk.backends.engine_api import driver_works, installed_api
from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_session import EngineRefusedError
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.backends.tensorrt_engine import open_tensorrt
from restore_sdk.cuda.opening import open_device
from restore_sdk.errors import BackendError, DeviceMemoryError, RestoreWarning
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec
from training.networks.unet import ResidualUNet

pytestmark = pytest.mark.gpu
SPEC = ModelSpec(name="unet", method="self_supervised", task="denoise", size_multiple=4, receptive_radius=31)
OPTIONS = EngineOptions(api=installed_api(), optimization_level=1)
TOLERANCE = {"fp32": 5e-3, "fp16": 1e-2}  # TensorRT rounds the factors of FP32 convolutions to TF32
MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def _gpu() -> None:
    if not driver_works():
        pytest.skip("no NVIDIA driver sees a GPU")
    pytest.importorskip(installed_api(), reason="no TensorRT is installed", exc_type=ImportError)
    pytest.importorskip("cuda.core", reason="cuda-core is not installed", exc_type=ImportError)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One network in both precisions, the names of twins."""
    torch.manual_seed(0)
    network = ResidualUNet(widths=(32, 64), blocks=(1, 1)).eval().requires_grad_(False)
    folder = tmp_path_factory.mktemp("models")
    paths = {"fp32": folder / "unet.onnx", "fp16": folder / "unet_fp16.onnx"}
    for precision, path in paths.items():
        module = network if precision == "fp32" else half_wrapped(network)
        path.write_bytes(stamped(serialised(trace(module, 3, 4)), dataclasses.replace(SPEC, precision=precision)))
    return paths


@pytest.fixture(scope="module")
def open_one(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """open_one(precision, **arguments of open_tensorrt); engines are kept for the module."""
    cache = EngineCache(tmp_path_factory.mktemp("engines"))

    def opened(precision: str = "fp32", **arguments: Any) -> Any:
        settings = {"options": OPTIONS, "cache": cache, **arguments}
        try:
            return open_tensorrt(models[precision], **settings)
        except EngineRefusedError as exc:
            skip_if_unsupported(exc)
            raise

    return opened


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def backend(precision: str, open_one: Callable[..., Any]) -> Iterator[Any]:
    opened = open_one(precision)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def reference(models: dict[str, Path]) -> Callable[[np.ndarray], np.ndarray]:
    """FP32 on the CPU."""
    return open_onnxruntime(models["fp32"], device="cpu").infer


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def test_same_numbers_as_the_cpu(backend: Any, precision: str, reference: Callable[[np.ndarray], np.ndarray]) -> None:
    for shape in ((1, 3, 4, 4), (1, 3, 52, 68), (1, 3, 512, 384), (1, 3, 28, 1000)):
        batch = noise(*shape)
        np.testing.assert_allclose(backend.infer(batch), reference(batch), atol=TOLERANCE[precision])
    assert backend.report()["engine"]["outcome"] in ("built", "kept")


def test_a_wider_range_is_built_when_it_is_needed(
    open_one: Callable[..., Any], reference: Callable[[np.ndarray], np.ndarray]
) -> None:
    backend = open_one()
    batches = [noise(1, 3, 64, 64), noise(2, 3, 64, 1100), noise(1, 3, 64, 64)]
    for batch, restored in zip(batches, backend.infer_many(batches), strict=True):
        np.testing.assert_allclose(restored, reference(batch), atol=TOLERANCE["fp32"])
    assert backend.takes((2, 3, 1024, 2048))
    backend.close()


def test_kept_engines_open_again(open_one: Callable[..., Any], precision: str) -> None:
    open_one(precision).close()
    again = open_one(precision, build="never")
    assert again.report()["engine"]["outcome"] == "kept"
    again.close()


def test_many_in_their_order_and_again_in_the_same_bits(backend: Any) -> None:
    batches = [noise(1, 3, 64, 64 + 32 * (i % 3), seed=i) for i in range(24)]
    first, second = (list(backend.infer_many(batches)) for _ in range(2))
    for one, other, batch in zip(first, second, batches, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, backend.infer(batch))


def test_graphs_are_replayed(open_one: Callable[..., Any]) -> None:
    backend = open_one(contexts=1)
    batch = noise(1, 3, 64, 64)
    results = [backend.infer(batch) for _ in range(6)]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    engine = backend.report()["engine"]
    if engine["cuda_graphs"] != "tensorrt_rtx":
        assert (engine["pipeline"]["graph_launches"], engine["pipeline"]["graph_refused"]) == (5, None)
    other = noise(1, 3, 96, 64)  # more scratch memory: the graph of the first shape must not be used again
    backend.infer(other)
    np.testing.assert_array_equal(backend.infer(batch), results[0])
    backend.close()


def test_eight_threads_get_the_bits_of_one(backend: Any) -> None:
    check_bits_on_threads(backend, [noise(1, 3, 32, 32 + 16 * (i % 6), seed=i) for i in range(32)])


def test_tiles_agree_with_the_whole_image(backend: Any, precision: str) -> None:
    image = noise(260, 330, 3)
    with Restorer(backend) as restorer:
        whole, tiled = restorer.restore(image, tile=None), restorer.restore(image, tile=64)
    np.testing.assert_allclose(tiled, whole, atol=TOLERANCE[precision])


def test_on_callers_streams(open_one: Callable[..., Any]) -> None:
    """More streams than contexts, each with a buffer of its own; nothing waits but the ends."""
    require_compiler()
    backend = open_one(contexts=2)
    with open_device(0) as device:
        batches = [noise(1, 3, 64, 64, seed=i) for i in range(6)]
        jobs = []
        for batch in batches:
            stream, pinned = device.stream(), device.pinned(batch.nbytes)
            given, restored = device.buffer(batch.nbytes), device.buffer(batch.nbytes)
            pinned.array[:] = batch.reshape(-1).view(np.uint8)
            stream.copy_in(given, pinned, batch.nbytes)
            backend.infer_on_device(given.pointer, restored.pointer, batch.shape, stream.handle)
            stream.copy_out(pinned, restored, batch.nbytes)
            jobs.append((stream, pinned, given, restored))
        for batch, (stream, pinned, given, restored) in zip(batches, jobs, strict=True):
            stream.synchronize()
            got = pinned.array.view(np.float32).reshape(batch.shape)
            np.testing.assert_allclose(got, backend.infer(batch), atol=1e-6)
            for resource in (pinned, given, restored, stream):
                resource.close()
    backend.close()


@pytest.mark.parametrize("finite", ["raise", "fallback", "ignore"])
def test_overflow_of_results_that_stay_on_the_gpu(open_one: Callable[..., Any], finite: str) -> None:
    """3e38 is finite, and no sum of it is."""
    require_compiler()
    backend = open_one(finite=finite)
    batches = [noise(1, 3, 64, 64), np.full((1, 3, 64, 64), 3e38, np.float32)]
    nbytes = batches[0].nbytes
    with (
        open_device(0) as device,
        device.pinned(nbytes) as pinned,
        device.buffer(nbytes) as given,
        device.buffer(nbytes) as restored,
        device.stream() as stream,
    ):

        def queue(batch: np.ndarray) -> None:
            stream.synchronize()
            pinned.array[:] = batch.reshape(-1).view(np.uint8)
            stream.copy_in(given, pinned, nbytes)
            backend.infer_on_device(given.pointer, restored.pointer, batch.shape, stream.handle)

        queue(batches[0])
        with pytest.warns(RestoreWarning) if finite == "fallback" else nullcontext():
            queue(batches[1])
        with pytest.raises(BackendError, match="earlier call") if finite == "raise" else nullcontext():
            queue(batches[0])
        queue(batches[0])
        stream.copy_out(pinned, restored, nbytes)
        stream.synchronize()
        assert np.isfinite(pinned.array.view(np.float32)).all()
    assert backend.report()["finite"]["batches"] == (1 if finite == "fallback" else 0)
    backend.close()


def test_compiled_kernels_are_kept(open_one: Callable[..., Any], tmp_path: Path) -> None:
    """Of tensorrt_rtx; `tensorrt` compiles nothing as it runs."""
    cache = EngineCache(tmp_path)
    for outcome in ("none kept", "kept"):
        backend = open_one(cache=cache)
        kernels = backend.report()["engine"]["kernels"]
        if kernels is None:
            backend.close()
            pytest.skip("this TensorRT has no runtime cache")
        assert kernels == {"outcome": outcome, "notes": []}
        backend.warm_up([(1, 3, 64, 64)])
        backend.close()
    assert len(list(tmp_path.glob("*.kernels"))) == 1


def test_out_of_memory_is_typed_and_survived(open_one: Callable[..., Any]) -> None:
    backend = open_one(contexts=1)
    batch = noise(1, 3, 64, 64)
    before = backend.infer(batch)
    with open_device(0) as device:
        free = device.memory()[0]
        with device.buffer(max(1, free - 64 * MIB)), pytest.raises(DeviceMemoryError) as caught:
            backend.infer(noise(1, 3, 1024, 1024))
    assert caught.value.tile == (1024, 1024)
    np.testing.assert_array_equal(backend.infer(batch), before)
    backend.close()


def test_memory_does_not_grow(backend: Any) -> None:
    batch = noise(1, 3, 64, 64)
    with open_device(0) as device:
        for _ in range(10):
            backend.infer(batch)
        before = device.memory()[0]
        for _ in range(1000):
            backend.infer(batch)
        assert before - device.memory()[0] < 8 * MIB


def test_served_meanwhile(open_one: Callable[..., Any], tmp_path: Path) -> None:
    backend = open_one(build="background", cache=EngineCache(tmp_path))
    assert isinstance(backend, BackgroundBackend)
    with closing(backend):
        batch = noise(1, 3, 64, 64)
        meanwhile = backend.infer(batch)
        assert backend.wait(600)
        report: Any = backend.report()
        skip_if_unsupported(report["build"]["error"])
        assert (report["backend"], report["build"]["error"]) == ("tensorrt", None)
        np.testing.assert_allclose(backend.infer(batch), meanwhile, atol=TOLERANCE["fp32"])


def test_use_after_close(open_one: Callable[..., Any]) -> None:
    backend = open_one()
    backend.infer(noise(1, 3, 16, 16))
    check_closed_twice(backend, noise(1, 3, 16, 16))
