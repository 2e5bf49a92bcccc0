"""Device arrays on a GPU with cuda-core and NVRTC alone: no PyTorch, no TensorRT. Images and networks use the driver's memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from driver_arrays import OnGpu, held_up, launcher_or_skip, on_host, pixels
from host_blur import blur, model
from on_threads import on_threads

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.cuda import dlpack
from restore_sdk.cuda.arrays import DeviceArray
from restore_sdk.cuda.cuda_core import CudaCoreDevice
from restore_sdk.cuda.launching import LEGACY, CudaLauncher, DeviceMemory
from restore_sdk.device_images import restore_on_device
from restore_sdk.errors import BackendError, DeviceMemoryError, DeviceUnavailableError
from restore_sdk.options import tile_options
from restore_sdk.restorer import Restorer
from restore_sdk.tiling.choice import Planner
from restore_sdk.tiling.recovery import Recovery

pytestmark = pytest.mark.gpu
DTYPES = ("uint8", "uint16", "float16", "float32")
MIB = 1 << 20


@pytest.fixture(scope="module")
def launcher() -> CudaLauncher:
    return launcher_or_skip()


@pytest.fixture
def stream() -> Iterator[int]:
    with CudaCoreDevice(0) as device, device.stream() as opened:
        yield opened.handle


class Copying(FunctionBackend):
    """Passes the tile on, on the device."""

    device_index = 0

    def __init__(self, launcher: CudaLauncher) -> None:
        super().__init__(model(), lambda batch: batch)
        self.launcher = launcher

    def infer_on_device(self, given: int, restored: int, shape: tuple[int, int, int, int], stream: int, /) -> None:
        device = self.launcher._device
        with device.current("copying on the GPU"):
            nbytes = 4 * int(np.prod(shape))
            device.call("copying on the GPU", device.driver.cuMemcpyDtoDAsync(restored, given, nbytes, stream))


class Blurring(FunctionBackend):
    """A network with a halo, in numpy between two copies."""

    device_index = 0

    def __init__(self, launcher: CudaLauncher, **changes: object) -> None:
        spec = model(**changes)
        super().__init__(spec, lambda batch: blur(batch).repeat(spec.scale, axis=2).repeat(spec.scale, axis=3))
        self.launcher = launcher

    def infer_on_device(self, given: int, restored: int, shape: tuple[int, int, int, int], stream: int, /) -> None:
        tile = np.empty(shape, np.float32)
        self.launcher.read(given, tile, stream)
        self.launcher.write(restored, self.infer(tile), stream)


def restored(image: object, backend: Any, *, tile: Any = "auto", **options: Any) -> DeviceArray:
    spec = backend.spec
    plan = Planner(spec).plan
    return restore_on_device(image, backend, plan, Recovery(spec.size_multiple), options=tile_options(tile), **options)[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(37, 50), (37, 50, 1), (37, 50, 3), (37, 50, 4)])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_bits_of_the_host(launcher: CudaLauncher, shape: tuple[int, ...], dtype: str, order: str) -> None:
    image, backend = pixels(*shape, dtype=dtype), Blurring(launcher)
    want = Restorer(backend, tile=16).restore(image, channel_order=order)  # type: ignore[arg-type]
    with restored(OnGpu(launcher, image), backend, tile=16, order=order) as result:
        np.testing.assert_array_equal(on_host(launcher, result), want)


@pytest.mark.parametrize("changes", [{"scale": 2}, {"value_range": (-1.0, 1.0)}, {"size_multiple": 8, "receptive_radius": 3}])
def test_what_models_promise(launcher: CudaLauncher, changes: dict[str, object]) -> None:
    image, backend = pixels(41, 30, 3, dtype="float32"), Blurring(launcher, **changes)
    with restored(OnGpu(launcher, image), backend, tile=16) as result:
        np.testing.assert_array_equal(on_host(launcher, result), Restorer(backend, tile=16).restore(image))


@pytest.mark.parametrize("dtype", DTYPES)
def test_alpha_is_enlarged(launcher: CudaLauncher, dtype: str) -> None:
    image, backend = pixels(40, 30, 4, dtype=dtype), Blurring(launcher, scale=2)
    want = Restorer(backend, tile=16).restore(image)
    with restored(OnGpu(launcher, image), backend, tile=16) as result:
        got = on_host(launcher, result)
    np.testing.assert_array_equal(got[..., :3], want[..., :3])
    np.testing.assert_allclose(got[..., 3].astype(float), want[..., 3].astype(float), atol=1 if dtype[0] == "u" else 2e-3)


def test_all_is_queued_and_nothing_waits(launcher: CudaLauncher, stream: int) -> None:
    """The image is written after restore() has returned, by work queued before it; the result is read on another stream."""
    image, other = pixels(64, 96, 3), pixels(64, 96, 3, seed=4)
    restored(OnGpu(launcher, image), Copying(launcher)).close()  # the kernels are compiled and loaded, which may wait
    given, filling = OnGpu(launcher, other, stream), OnGpu(launcher, image)
    release = held_up(launcher, stream)
    try:
        device = launcher._device
        with device.current("copying on the GPU"):
            copy = device.driver.cuMemcpyDtoDAsync(given.memory.pointer, filling.memory.pointer, image.nbytes, stream)
            device.call("copying on the GPU", copy)
        result = restored(given, Copying(launcher), tile=32)
        assert result.stream == stream
        interface = result.__cuda_array_interface__
        launcher.order(LEGACY, interface["stream"])
    finally:
        release()
    got = np.empty_like(image)
    launcher.read(interface["data"][0], got, LEGACY)
    np.testing.assert_array_equal(got, image)


def test_a_capsule_says_what_the_result_is(launcher: CudaLauncher, stream: int) -> None:
    image = pixels(20, 22, 3, dtype="uint16")
    result = restored(OnGpu(launcher, image), Copying(launcher))
    for version in (None, (1, 0)):
        taken = dlpack.consume(result.__dlpack__(stream=stream, max_version=version))
        assert (taken.pointer, taken.shape, taken.device) == (result.pointer, result.shape, (2, 0))
        got = np.empty_like(image)
        launcher.read(taken.pointer, got, stream)
        taken.release()
        np.testing.assert_array_equal(got, image)


def test_a_result_goes_back_in(launcher: CudaLauncher) -> None:
    image, backend = pixels(20, 22, 3), Blurring(launcher)
    with restored(OnGpu(launcher, image), backend) as once, restored(once, backend) as twice:
        want = Restorer(backend)
        np.testing.assert_array_equal(on_host(launcher, twice), want(want(image)))


def test_many_images_leave_nothing(launcher: CudaLauncher) -> None:
    image, backend = OnGpu(launcher, pixels(128, 128, 3)), Copying(launcher)

    def held() -> tuple[int, int]:
        gc.collect()
        launcher.synchronize()
        return launcher.memory()[0], dlpack.alive()

    def restore() -> None:
        dlpack.consume(restored(image, backend).__dlpack__()).release()

    for _ in range(10):
        restore()
    free, alive = held()
    for _ in range(300):
        restore()
    after = held()
    assert after[0] >= free - 16 * MIB
    assert after[1] == alive


def test_eight_threads_on_streams_of_their_own(launcher: CudaLauncher) -> None:
    images = [pixels(40, 30 + 8 * (seed % 3), 3, seed=seed) for seed in range(24)]
    backend, wrong = Blurring(launcher), []
    want = [Restorer(backend, tile=16).restore(image) for image in images]

    def work(first: int) -> None:
        with CudaCoreDevice(0) as device, device.stream() as stream:
            for index in range(first, len(images), 8):
                given = OnGpu(launcher, images[index], stream.handle)
                with restored(given, backend, tile=16, stream=stream.handle) as result:
                    if not np.array_equal(on_host(launcher, result), want[index]):
                        wrong.append(index)
                given.memory.close()

    on_threads(work)
    assert wrong == []


def test_too_large_is_typed(launcher: CudaLauncher) -> None:
    _, total = launcher.memory()
    with pytest.raises(DeviceMemoryError) as caught:
        DeviceMemory(launcher, 2 * total, LEGACY)
    assert caught.value.required == 2 * total
    assert caught.value.free is not None


def test_memory_of_the_host_is_refused(launcher: CudaLauncher) -> None:
    image, on_gpu = pixels(16, 16, 3), OnGpu(launcher, pixels(16, 16, 3))
    interface = {**on_gpu.__cuda_array_interface__, "data": (image.ctypes.data, False)}
    pretending = type("Pretending", (), {"__cuda_array_interface__": interface})()
    with pytest.raises((BackendError, DeviceUnavailableError)):
        restored(pretending, Copying(launcher))
