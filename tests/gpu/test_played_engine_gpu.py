"""The TensorRT backend between a TensorRT that is played and the real cuda-core, on the stand-in driver: its contexts, pipeline,
graphs, kernels and marks in the order of CUDA streams. A played engine reads device memory, so this is not for a real GPU."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backend_checks import check_bits_on_threads
from driver_arrays import OnGpu, held_up, launcher_or_skip, on_host, pixels, queue_on_host
from on_threads import on_threads
from played_tensorrt import PlayedTensorRT, played_build
from stand_in_driver import NOT_SUPPORTED, OUT_OF_MEMORY, StandIn

from restore_sdk.backends import engine_kernels, engine_source, tensorrt_engine
from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_profile import EngineProfile
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.cuda.cuda_core import CudaCoreDevice
from restore_sdk.cuda.launching import LEGACY, CudaLauncher
from restore_sdk.errors import BackendError, RestoreWarning
from restore_sdk.restorer import Restorer

pytestmark = pytest.mark.gpu
Open = Callable[..., Any]


class OnStreams:
    """What a played TensorRT asks of its device: `streams[handle].queue()`, here a function that CUDA calls in its turn."""

    def __init__(self, device: CudaCoreDevice) -> None:
        self._device = device
        self._kept: list[object] = []  # what CUDA may still call, replayed graphs too
        self.streams = self

    def __getitem__(self, handle: int) -> OnStreams._Stream:
        return self._Stream(self, handle)

    class _Stream:
        def __init__(self, owner: OnStreams, handle: int) -> None:
            self._owner, self._handle = owner, handle

        def queue(self, _stage: str, _slot: int, run: Callable[[], None]) -> None:
            self._owner._kept.append(queue_on_host(self._owner._device, self._handle, run))


@pytest.fixture
def launcher(driver: StandIn) -> CudaLauncher:
    return launcher_or_skip()


@pytest.fixture
def played(launcher: CudaLauncher, monkeypatch: pytest.MonkeyPatch) -> PlayedTensorRT:
    """TensorRT alone is played: driver, device, streams, graphs and kernels are found and used as on a GPU."""
    api = PlayedTensorRT(OnStreams(launcher._device))  # type: ignore[arg-type]
    monkeypatch.setattr(tensorrt_engine, "find_spec", lambda name: name)
    monkeypatch.setattr(tensorrt_engine, "installed_api", lambda: "tensorrt")
    monkeypatch.setattr(tensorrt_engine, "load_api", lambda name: api)
    monkeypatch.setattr(engine_source, "build_engine", played_build)
    for module in (engine_source, engine_kernels):
        monkeypatch.setattr(module, "installed_driver", lambda: "580.65.06")
    return api


@pytest.fixture
def open_played(played: PlayedTensorRT, small_model: Path, tmp_path: Path) -> Iterator[Open]:
    """open_played(**arguments of open_tensorrt); closed at the end."""
    opened = []
    profile = EngineProfile(minimum=(1, 3, 8, 8), optimum=(1, 3, 32, 32), maximum=(2, 3, 64, 64))

    def open_one(**arguments: Any) -> Any:
        settings = {"cache": EngineCache(tmp_path / "engines"), "profile": profile, "threads": 1, **arguments}
        opened.append(tensorrt_engine.open_tensorrt(small_model, **settings))
        return opened[-1]

    yield open_one
    for backend in opened:
        backend.close()


@pytest.fixture(scope="module")
def reference(small_model: Path) -> Callable[[np.ndarray], np.ndarray]:
    return open_onnxruntime(small_model, device="cpu", threads=1).infer


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def test_batches_of_the_host_replay_graphs(open_played: Open, reference: Callable[[np.ndarray], np.ndarray]) -> None:
    backend = open_played()
    assert (backend.report()["device"], backend.report()["memory"]) == ("cuda:0", "cuda-core")
    for shape in ((1, 3, 16, 24), (2, 3, 64, 20), (1, 3, 72, 8)):  # the last one is outside the range
        batches = [noise(*shape, seed=seed) for seed in range(12)]
        for batch, restored in zip(batches, backend.infer_many(batches), strict=True):
            np.testing.assert_allclose(restored, reference(batch), atol=1e-5)
    engine = backend.report()["engine"]
    assert engine["cuda_graphs"] == "one for each slot's shape"
    assert engine["pipeline"]["graph_launches"] > 0


def test_threads_get_the_bits_of_one(open_played: Open) -> None:
    check_bits_on_threads(open_played(), [noise(1, 3, 8 + 8 * (i % 4), 16, seed=i) for i in range(24)])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_device_arrays(open_played: Open, launcher: CudaLauncher, dtype: str) -> None:
    image = pixels(61, 90, 3, dtype=dtype)
    with Restorer(open_played(), tile=16) as restorer, CudaCoreDevice(0) as device, device.stream() as stream:
        want = restorer.restore(image)
        for here in (LEGACY, stream.handle):
            with restorer.restore(OnGpu(launcher, image, here), stream=here) as result:  # type: ignore[arg-type, attr-defined]
                np.testing.assert_array_equal(on_host(launcher, result), want)  # type: ignore[arg-type]


def test_device_arrays_wait_for_nothing(open_played: Open, launcher: CudaLauncher) -> None:
    image = pixels(32, 32, 3)
    with Restorer(open_played()) as restorer, CudaCoreDevice(0) as device, device.stream() as stream:
        given = OnGpu(launcher, image, stream.handle)
        restorer.restore(given).close()  # type: ignore[arg-type, attr-defined]  # memory and kernels are there
        release = held_up(launcher, stream.handle)
        try:
            result = restorer.restore(given)  # type: ignore[arg-type]
        finally:
            release()
        np.testing.assert_array_equal(on_host(launcher, result), restorer.restore(image))  # type: ignore[arg-type]


def test_threads_on_streams_of_their_own(open_played: Open, launcher: CudaLauncher) -> None:
    """More streams than contexts: they take turns, in the order of the streams."""
    images = [pixels(24, 16 + 8 * (seed % 3), 3, seed=seed) for seed in range(24)]
    wrong: list[int] = []
    with Restorer(open_played(contexts=3)) as restorer:
        want = [restorer.restore(image) for image in images]

        def work(first: int) -> None:
            with CudaCoreDevice(0) as device, device.stream() as stream:
                for index in range(first, len(images), 8):
                    given = OnGpu(launcher, images[index], stream.handle)
                    with restorer.restore(given) as result:  # type: ignore[arg-type, attr-defined]
                        if not np.array_equal(on_host(launcher, result), want[index]):  # type: ignore[arg-type]
                            wrong.append(index)

        on_threads(work)
    assert wrong == []


def test_overflow_on_the_gpu_is_found_by_the_kernels(open_played: Open, played: PlayedTensorRT, launcher: CudaLauncher) -> None:
    image = OnGpu(launcher, pixels(8, 8, 3))
    backend = open_played()
    with Restorer(backend) as restorer:
        played.overflow = lambda batch: True
        restorer.restore(image).close()  # type: ignore[arg-type, attr-defined]
        launcher.synchronize()
        played.overflow = lambda batch: False
        with pytest.raises(BackendError, match="not finite"):
            restorer.restore(image)  # type: ignore[arg-type]
        restorer.restore(image).close()  # type: ignore[arg-type, attr-defined]


def test_overflow_on_the_gpu_falls_back(
    open_played: Open, played: PlayedTensorRT, launcher: CudaLauncher, reference: Callable[[np.ndarray], np.ndarray]
) -> None:
    image = pixels(8, 8, 3, dtype="float32")
    played.overflow = lambda batch: True
    with Restorer(open_played(finite="fallback")) as restorer:
        with pytest.warns(RestoreWarning, match="overflows"):
            result = restorer.restore(OnGpu(launcher, image))  # type: ignore[arg-type]
        want = np.clip(reference(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))[0].transpose(1, 2, 0), 0, 1)
        np.testing.assert_allclose(on_host(launcher, result), want, atol=1e-5)  # type: ignore[arg-type]


def test_memory_that_does_not_suffice_is_found(open_played: Open, driver: StandIn, reference: Any) -> None:
    """Slots rest, scratch memory is taken from those that rest, and the results stay right."""
    for after in range(6):
        backend = open_played()
        driver.fail("cuMemAlloc", OUT_OF_MEMORY, after)
        batches = [noise(1, 3, 16, 24, seed=seed) for seed in range(6)]
        for batch, restored in zip(batches, backend.infer_many(batches), strict=True):
            np.testing.assert_allclose(restored, reference(batch), atol=1e-5)
        backend.close()
        driver.heal()


def test_a_network_that_fails_once(open_played: Open, driver: StandIn, launcher: CudaLauncher, reference: Any) -> None:
    backend, batch = open_played(), noise(1, 3, 16, 16)
    image = OnGpu(launcher, pixels(16, 16, 3))
    with Restorer(backend) as restorer:
        for use in (lambda: backend.infer(batch), lambda: restorer.restore(image)):  # type: ignore[arg-type]
            driver.fail("cuLaunchHostFunc", NOT_SUPPORTED)
            with pytest.raises(BackendError, match="NOT_SUPPORTED"):
                use()
            np.testing.assert_allclose(backend.infer(batch), reference(batch), atol=1e-5)
        restorer.restore(image).close()  # type: ignore[arg-type, attr-defined]


def test_closing_leaves_nothing(open_played: Open, driver: StandIn, launcher: CudaLauncher) -> None:
    open_played().close()
    gc.collect()
    before = driver.alive
    for _ in range(3):
        backend = open_played()
        list(backend.infer_many(noise(1, 3, 16, 16, seed=seed) for seed in range(8)))
        with Restorer(backend) as restorer:
            restorer.restore(OnGpu(launcher, pixels(16, 16, 3))).close()  # type: ignore[arg-type, attr-defined]
        backend.close()
    gc.collect()
    launcher.synchronize()
    assert driver.alive == before
