"""Images in the driver's own memory, for tests of device arrays that do without PyTorch."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

import numpy as np
import pytest
from gpu_programs import require_compiler

from restore_sdk.cuda.arrays import DeviceArray
from restore_sdk.cuda.cuda_core import CudaCoreDevice
from restore_sdk.cuda.driver import driver_reason
from restore_sdk.cuda.launching import LEGACY, CudaLauncher, DeviceMemory, open_launcher


def launcher_or_skip() -> CudaLauncher:
    """GPU 0's; skips where there is no driver or no compiler."""
    reason = driver_reason()
    if reason is not None:
        pytest.skip(reason)
    require_compiler()
    opened = open_launcher(0)
    assert isinstance(opened, CudaLauncher)
    return opened


class OnGpu:
    """A copy of `image` on the GPU, ready on `stream`."""

    def __init__(self, launcher: CudaLauncher, image: np.ndarray, stream: int = LEGACY) -> None:
        self.memory = DeviceMemory(launcher, image.nbytes, stream)
        launcher.write(self.memory.pointer, np.ascontiguousarray(image), stream)
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": image.shape,
            "typestr": image.dtype.str,
            "data": (self.memory.pointer, False),
            "strides": None,
            "stream": stream,
        }


def on_host(launcher: CudaLauncher, result: DeviceArray) -> np.ndarray:
    pixels = np.empty(result.shape, result.dtype)
    launcher.read(result.pointer, pixels, result.stream)
    return pixels


def pixels(*shape: int, dtype: str = "uint8", seed: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (
        random.integers(0, 255, shape).astype(dtype) if dtype.startswith("u") else random.random(shape, np.float32).astype(dtype)
    )


def queue_on_host(device: CudaCoreDevice, stream: int, work: Callable[[], object]) -> object:
    """Have CUDA call `work` in the order of `stream`. Keep what is returned as long as that may happen."""
    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: bool(work()))
    function, action = device.driver.CUhostFn(_ptr=ctypes.addressof(callback)), "queueing a function of the host"
    with device.current(action):
        device.call(action, device.driver.cuLaunchHostFunc(stream, function, 0))
    return callback


def held_up(launcher: CudaLauncher, stream: int) -> Callable[[], None]:
    """Nothing queued on `stream` from now on is done before the function returned is called."""
    go_on = threading.Event()
    kept = queue_on_host(launcher._device, stream, lambda: go_on.wait(60))

    def release(_kept: object = kept) -> None:
        go_on.set()

    return release
