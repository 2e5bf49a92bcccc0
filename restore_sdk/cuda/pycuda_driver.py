"""The protocol through pycuda's driver interface. It has no CUDA graphs.

pycuda.autoinit is never used: it makes a context of its own, in which nothing of torch, ONNX Runtime or TensorRT is valid.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_sdk.cuda.driver import require_driver
from restore_sdk.cuda.faults import check_index, translated
from restore_sdk.cuda.memory import DeviceBuffer, Event, PinnedBuffer, Resource, check_copy, check_open, check_size, own
from restore_sdk.errors import BackendError
from restore_sdk.extras import require

NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, which pycuda has no name for


class PycudaDevice(Resource):
    """One GPU on its primary context, which stays retained while the process lives: pycuda gives it back without popping it from
    the thread's stack. For each call it is pushed onto the calling thread and popped again."""

    implementation = "pycuda"

    def __init__(self, index: int = 0) -> None:
        require_driver(index)
        self.driver, self.index = _driver(), index
        self.vendor = (self.driver.Error,)
        with translated("opening the GPU", self.vendor):
            self.driver.init()
            check_index(index, self.driver.Device.count())
            ordinal = self.driver.Device(index)
            self.name = str(ordinal.name())
            major, minor = ordinal.compute_capability()
            self._context = _primary_context(self.driver, index)
        self.capability = (int(major), int(minor))

    @contextmanager
    def current(self, action: str, required: int | None = None) -> Iterator[ModuleType]:
        """The primary context on this thread; pycuda's exceptions come out as ours. `required`: bytes asked for, if any."""
        with translated(action, self.vendor, required):
            self._context.push()
            try:
                yield self.driver
            finally:
                self._context.pop()

    def memory(self) -> tuple[int, int]:
        with self.current("reading the free memory") as driver:
            free, total = driver.mem_get_info()
        return int(free), int(total)

    def buffer(self, nbytes: int) -> PycudaBuffer:
        return PycudaBuffer(self, nbytes)

    def pinned(self, nbytes: int) -> PycudaPinned:
        return PycudaPinned(self, nbytes)

    def stream(self) -> PycudaStream:
        return PycudaStream(self)

    def event(self) -> PycudaEvent:
        return PycudaEvent(self)

    def close(self) -> None:
        """Nothing to release: see the class."""


class PycudaBuffer(Resource):
    """A DeviceAllocation."""

    def __init__(self, device: PycudaDevice, nbytes: int) -> None:
        check_size(nbytes)
        with device.current("allocating device memory", nbytes) as driver:
            self._allocation: Any = driver.mem_alloc(nbytes)
            self.pointer = int(self._allocation)
        self.nbytes, self._device = nbytes, device

    def close(self) -> None:
        allocation, self._allocation, self.pointer = self._allocation, None, 0
        if allocation is not None:
            with self._device.current("freeing device memory"):
                allocation.free()


class PycudaPinned(Resource):
    """A page-locked numpy array, pinned for every context of the process."""

    def __init__(self, device: PycudaDevice, nbytes: int) -> None:
        check_size(nbytes)
        with device.current("allocating pinned host memory", nbytes) as driver:
            array = driver.pagelocked_empty(nbytes, np.uint8, mem_flags=driver.host_alloc_flags.PORTABLE)
        self.array: NDArray[np.uint8] = array
        self._allocation: Any = array.base
        self.pointer, self.nbytes, self._device = int(array.ctypes.data), nbytes, device

    def close(self) -> None:
        allocation, self._allocation, self.pointer = self._allocation, None, 0
        if allocation is not None:
            with self._device.current("freeing pinned host memory"):
                allocation.free()


class PycudaEvent(Resource):
    """Sleeps while it waits, and keeps no time."""

    def __init__(self, device: PycudaDevice) -> None:
        self._device = device
        with device.current("creating an event") as driver:
            flags = driver.event_flags.BLOCKING_SYNC | driver.event_flags.DISABLE_TIMING
            self.vendor: Any = driver.Event(flags)

    @property
    def done(self) -> bool:
        with self._device.current("asking an event"):
            return bool(self.vendor.query())

    def synchronize(self) -> None:
        with self._device.current("work queued on the GPU"):
            self.vendor.synchronize()

    def close(self) -> None:
        with self._device.current("closing an event"):
            self.vendor = None  # pycuda destroys it with the last reference


class PycudaStream(Resource):
    """A stream that does not wait for the default one."""

    def __init__(self, device: PycudaDevice) -> None:
        self._device = device
        with device.current("creating a stream") as driver:
            self.vendor: Any = driver.Stream(NON_BLOCKING)
            self.handle = int(self.vendor.handle)

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None:
        check_copy(target, source, nbytes)
        check_open(self)
        with self._device.current("copying to the GPU") as driver:
            driver.memcpy_htod_async(target.pointer, source.array[:nbytes], self.vendor)

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None:
        check_copy(target, source, nbytes)
        check_open(self)
        with self._device.current("copying from the GPU") as driver:
            driver.memcpy_dtoh_async(target.array[:nbytes], source.pointer, self.vendor)

    def record(self, event: Event) -> None:
        with self._device.current("recording an event"):
            own(event, PycudaEvent).vendor.record(self.vendor)

    def wait(self, event: Event) -> None:
        with self._device.current("waiting for an event"):
            self.vendor.wait_for_event(own(event, PycudaEvent).vendor)

    def synchronize(self) -> None:
        with self._device.current("work queued on the GPU"):
            self.vendor.synchronize()

    def close(self) -> None:
        if self.vendor is not None:
            with self._device.current("closing a stream"):
                with suppress(*self._device.vendor):  # what failed is told by the events behind it
                    self.vendor.synchronize()
                self.vendor, self.handle = None, 0


@cache
def _primary_context(driver: ModuleType, index: int) -> Any:
    context = driver.Device(index).retain_primary_context()
    atexit.register(context.detach)  # its own destructor would treat it as a context that pycuda has made, and fail
    return context


def _driver() -> ModuleType:
    """pycuda.driver, which is linked against the driver and a toolkit. Raises MissingExtraError, BackendError."""
    require("pycuda", "pycuda")
    try:
        return require("pycuda.driver", "pycuda")
    except ImportError as exc:
        raise BackendError(f"pycuda is installed but cannot be loaded ({exc}); build it again for this driver") from exc
