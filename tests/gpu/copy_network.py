"""A network for the pipeline on a GPU that copies its input to its output: exact, and it needs no compiler."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import numpy as np

from restore_sdk.cuda.driver import LIBRARY
from restore_sdk.cuda.memory import Device, DeviceBuffer, Stream
from restore_sdk.cuda.pipeline import Pipeline
from restore_sdk.cuda.slots import Shape, bytes_of
from restore_sdk.errors import BackendError


class CopyNetwork:
    """restored = given, by cuMemcpyDtoDAsync; on_enqueue(n) is called as batch n is queued."""

    def __init__(
        self,
        device: Device,
        *,
        capturable: bool = False,
        on_enqueue: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.device, self.capturable, self.on_enqueue = device, capturable, on_enqueue
        self.queued = 0
        self.driver = ctypes.WinDLL(LIBRARY) if sys.platform == "win32" else ctypes.CDLL(LIBRARY)
        self.copy = self.driver.cuMemcpyDtoDAsync_v2
        self.copy.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p]

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def enqueue(self, slot: int, given: DeviceBuffer, restored: DeviceBuffer, shape: Shape, stream: Stream) -> None:
        number, self.queued = self.queued, self.queued + 1
        self.on_enqueue(number)
        with self.device.current("copying on the GPU"):  # type: ignore[attr-defined]
            code = self.copy(restored.pointer, given.pointer, bytes_of(shape), stream.handle)
        if code:
            raise BackendError(f"cuMemcpyDtoDAsync answers {code}")

    def current_context(self) -> int | None:
        """The calling thread's context, as CUDA knows it."""
        context = ctypes.c_void_p()
        assert self.driver.cuCtxGetCurrent(ctypes.byref(context)) == 0
        return context.value


def check(pipeline: Pipeline, given: list[np.ndarray]) -> None:
    for batch, result in zip(given, pipeline.run(given), strict=True):
        assert np.array_equal(batch, result)
