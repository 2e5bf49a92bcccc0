"""The protocol through NVIDIA's cuda-core: streams, events and graphs are its own, memory is the driver's through cuda-bindings.

Memory does not come from cuda-core's pools: a pool may keep what was closed, and TensorRT and memory() would not see it free.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_sdk.cuda.driver import require_driver
from restore_sdk.cuda.faults import check_index, translated
from restore_sdk.cuda.memory import (
    DeviceBuffer,
    Event,
    PinnedBuffer,
    Resource,
    Stream,
    check_copy,
    check_open,
    check_size,
    out_of_memory,
    own,
)
from restore_sdk.cuda.torch_switches import CAPTURING
from restore_sdk.errors import BackendError
from restore_sdk.extras import require

EXTRA = "tensorrt"


class CudaCoreDevice(Resource):
    """One GPU. Retains its primary context until close(); makes it current on the calling thread for each call only, so what the
    caller's thread had current is current again afterwards."""

    implementation = "cuda-core"

    def __init__(self, index: int = 0) -> None:
        require_driver(index)
        self.core, self.driver = _module("cuda.core"), _module("cuda.bindings.driver")
        self.vendor = (_module("cuda.core._utils.cuda_utils").CUDAError, RuntimeError)
        self.index = index
        with ExitStack() as undo:
            self.call("starting CUDA", self.driver.cuInit(0))
            check_index(index, self.call("counting GPUs", self.driver.cuDeviceGetCount()))
            self._ordinal = self.call("opening the GPU", self.driver.cuDeviceGet(index))
            self._context = self.call("opening the GPU", self.driver.cuDevicePrimaryCtxRetain(self._ordinal))
            undo.callback(self._release_context)
            with self.current("reading the GPU's properties") as device:
                self.name = str(device.name)
                major, minor = device.compute_capability
            self.capability = (int(major), int(minor))
            self._owned = undo.pop_all()

    def call(self, action: str, answer: tuple[Any, ...], required: int | None = None) -> Any:
        """The value in a driver function's (code, value) answer. Raises DeviceMemoryError or BackendError."""
        code, *values = answer
        success = self.driver.CUresult.CUDA_SUCCESS
        if code == self.driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise out_of_memory(required, self._free())
        if code != success:
            text = self.driver.cuGetErrorString(code)[1]
            raise BackendError(f"{action} failed; the driver says:", [f"{code!s}: {(text or b'').decode()}"])
        return values[0] if values else None

    @contextmanager
    def current(self, action: str) -> Iterator[Any]:
        """The primary context on this thread, and cuda-core's device; its exceptions come out as ours."""
        self.call(action, self.driver.cuCtxPushCurrent(self._context))
        try:
            with translated(action, self.vendor):
                device = self.core.Device(self.index)
                device.set_current()
                yield device
        finally:
            self.call(action, self.driver.cuCtxPopCurrent())

    def memory(self) -> tuple[int, int]:
        with self.current("reading the free memory"):
            code, free, total = self.driver.cuMemGetInfo()
            self.call("reading the free memory", (code,))
        return int(free), int(total)

    def buffer(self, nbytes: int) -> CudaCoreBuffer:
        return CudaCoreBuffer(self, nbytes)

    def pinned(self, nbytes: int) -> CudaCorePinned:
        return CudaCorePinned(self, nbytes)

    def stream(self) -> CudaCoreStream:
        return CudaCoreStream(self)

    def event(self) -> CudaCoreEvent:
        return CudaCoreEvent(self)

    def close(self) -> None:
        self._owned.close()

    def _free(self) -> int | None:
        code, free, _ = self.driver.cuMemGetInfo()
        return None if code != self.driver.CUresult.CUDA_SUCCESS else int(free)

    def _release_context(self) -> None:
        self.driver.cuDevicePrimaryCtxRelease(self._ordinal)


class CudaCoreBuffer(Resource):
    """cuMemAlloc and cuMemFree."""

    def __init__(self, device: CudaCoreDevice, nbytes: int) -> None:
        check_size(nbytes)
        with device.current("allocating device memory"):
            self.pointer = int(device.call("allocating device memory", device.driver.cuMemAlloc(nbytes), nbytes))
        self.nbytes, self._device = nbytes, device

    def close(self) -> None:
        if self.pointer:
            pointer, self.pointer = self.pointer, 0
            with self._device.current("freeing device memory"):
                # The code is not looked at: a context that a fault has ended, which was told there, has nothing left to free
                self._device.driver.cuMemFree(pointer)


class CudaCorePinned(Resource):
    """cuMemHostAlloc, portable: pinned for every context of the process."""

    def __init__(self, device: CudaCoreDevice, nbytes: int) -> None:
        check_size(nbytes)
        action, driver = "allocating pinned host memory", device.driver
        with device.current(action):
            self.pointer = int(device.call(action, driver.cuMemHostAlloc(nbytes, driver.CU_MEMHOSTALLOC_PORTABLE), nbytes))
        self.nbytes, self._device = nbytes, device
        self.array: NDArray[np.uint8] = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(self.pointer))

    def close(self) -> None:
        if self.pointer:
            pointer, self.pointer = self.pointer, 0
            with self._device.current("freeing pinned host memory"):
                self._device.driver.cuMemFreeHost(pointer)


class CudaCoreEvent(Resource):
    """Sleeps while it waits: a spinning thread would take a core from decoding and encoding."""

    def __init__(self, device: CudaCoreDevice) -> None:
        self._device = device
        with device.current("creating an event") as cuda:
            self.vendor = cuda.create_event(options=device.core.EventOptions(blocking_sync=True))

    @property
    def done(self) -> bool:
        with self._device.current("asking an event"):
            return bool(self.vendor.is_done)

    def synchronize(self) -> None:
        with self._device.current("work queued on the GPU"):
            self.vendor.sync()

    def close(self) -> None:
        with self._device.current("closing an event"):
            self.vendor.close()


class CudaCoreStream(Resource):
    """A stream that does not wait for the default one."""

    def __init__(self, device: CudaCoreDevice) -> None:
        self._device = device
        with device.current("creating a stream") as cuda:
            self.vendor = cuda.create_stream(options=device.core.StreamOptions(nonblocking=True))
            self.handle = int(self.vendor.handle)

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None:
        check_copy(target, source, nbytes)
        check_open(self)
        device = self._device
        with device.current("copying to the GPU"):
            answer = device.driver.cuMemcpyHtoDAsync(target.pointer, source.pointer, nbytes, self.handle)
            device.call("copying to the GPU", answer)

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None:
        check_copy(target, source, nbytes)
        check_open(self)
        device = self._device
        with device.current("copying from the GPU"):
            answer = device.driver.cuMemcpyDtoHAsync(target.pointer, source.pointer, nbytes, self.handle)
            device.call("copying from the GPU", answer)

    def record(self, event: Event) -> None:
        with self._device.current("recording an event"):
            self.vendor.record(own(event, CudaCoreEvent).vendor)

    def wait(self, event: Event) -> None:
        with self._device.current("waiting for an event"):
            self.vendor.wait(own(event, CudaCoreEvent).vendor)

    def synchronize(self) -> None:
        with self._device.current("work queued on the GPU"):
            self.vendor.sync()

    def capture(self, work: Callable[[], None]) -> CudaCoreGraph:
        with CAPTURING, self._device.current("capturing a CUDA graph"):  # who waits for the device keeps away
            builder = self.vendor.create_graph_builder()
            try:
                builder.begin_building("thread_local")  # other threads may allocate meanwhile
                work()
                builder.end_building()
                return CudaCoreGraph(self._device, builder.complete())
            finally:
                builder.close()  # ends a capture that is still on

    def close(self) -> None:
        if self.handle:
            self.handle = 0
            with self._device.current("closing a stream"):
                with suppress(*self._device.vendor):  # what failed is told by the events behind it
                    self.vendor.sync()
                self.vendor.close()


class CudaCoreGraph(Resource):
    """An instantiated graph."""

    def __init__(self, device: CudaCoreDevice, graph: Any) -> None:
        self._device, self._graph = device, graph

    def launch(self, stream: Stream) -> None:
        with self._device.current("replaying a CUDA graph"):
            self._graph.launch(own(stream, CudaCoreStream).vendor)

    def close(self) -> None:
        with self._device.current("closing a CUDA graph"):
            self._graph.close()


def _module(name: str) -> ModuleType:
    """cuda-core and cuda-bindings are two packages in one namespace: either may be missing."""
    return require(name, EXTRA)
