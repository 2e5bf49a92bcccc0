"""Kernels and memory of one GPU in the order of streams that belong to others, given by their raw handles.

Nothing here waits for the device, except the release of memory that a stream unknown to us may still be reading. CUDA forbids
that wait while a graph is captured, and it would end the capture: such memory is given back later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from importlib.resources import files
from threading import Lock
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from restore_sdk.cuda.cuda_core import CudaCoreDevice
from restore_sdk.cuda.memory import Resource
from restore_sdk.cuda.torch_switches import CAPTURING
from restore_sdk.errors import BackendError

LEGACY = 1  # the handle of the legacy default stream, also where 0 stands for it
NO_SYNC = -1  # DLPack: "do not order anything"
THREADS, MOST_BLOCKS = 256, 1 << 16
SOURCE = "kernels.cu"
KERNELS = ("gather", "scatter", "start_range", "find_range", "enlarge", "find_not_finite")


class Launcher(Protocol):
    """What device images need of a device."""

    index: int  # CUDA's ordinal
    kind: int  # DLDeviceType of its memory

    def current(self, action: str) -> AbstractContextManager[Any]:
        """The device's context on this thread, for the length of the block."""
        ...

    def memory(self) -> tuple[int, int]:
        """Free and total bytes."""
        ...

    def allocate(self, nbytes: int, stream: int) -> int:
        """Pointer to memory that work on `stream` may use from now on. Raises DeviceMemoryError."""
        ...

    def free(self, pointer: int, stream: int) -> None:
        """Give it back once `stream` has got that far."""
        ...

    def launch(self, kernel: str, items: int, arguments: tuple[int | np.generic, ...], stream: int) -> None:
        """Queue a kernel of kernels.cu over `items` pixels. Pointers as int, numbers as numpy scalars."""
        ...

    def order(self, after: int, before: int) -> None:
        """Let later work on the stream `after` wait for what is queued on `before`."""
        ...

    def synchronize(self) -> None:
        """Wait for everything on the device."""
        ...

    def wait(self, stream: int) -> None:
        """Wait for what is queued on `stream`."""
        ...

    def mark(self, stream: int) -> Callable[[], None]:
        """What waits for all that is queued on `stream` by now, whatever becomes of the stream."""
        ...

    def read(self, pointer: int, into: NDArray[Any], stream: int) -> None:
        """Copy into a contiguous array what lies at `pointer` when `stream` has got that far, and wait for it."""
        ...

    def write(self, pointer: int, source: NDArray[Any], stream: int) -> None:
        """Copy a contiguous array to `pointer` when `stream` has got that far, and wait for it."""
        ...

    def device_of(self, pointer: int) -> int:
        """The ordinal of the GPU whose memory `pointer` is."""
        ...


class CudaLauncher:
    """Through cuda-core and cuda-bindings. The kernels are compiled by NVRTC when the first is launched, once for a process."""

    kind = 2  # kDLCUDA

    def __init__(self, index: int) -> None:
        self._device = CudaCoreDevice(index)
        self.index = index
        self._kernels: dict[str, Any] = {}
        self._lock = Lock()

    def current(self, action: str) -> AbstractContextManager[Any]:
        return self._device.current(action)

    def memory(self) -> tuple[int, int]:
        return self._device.memory()

    def allocate(self, nbytes: int, stream: int) -> int:
        device, action = self._device, "allocating device memory"
        with device.current(action):
            return int(device.call(action, device.driver.cuMemAllocAsync(nbytes, stream), nbytes))

    def free(self, pointer: int, stream: int) -> None:
        device, action = self._device, "freeing device memory"
        with device.current(action):
            device.driver.cuMemFreeAsync(pointer, stream)  # a code here is of an earlier fault, which was reported there

    def launch(self, kernel: str, items: int, arguments: tuple[int | np.generic, ...], stream: int) -> None:
        core = self._device.core
        with self._device.current(f"launching {kernel}"):
            config = core.LaunchConfig(grid=min(-(-items // THREADS), MOST_BLOCKS), block=THREADS)
            core.launch(core.Stream.from_handle(stream), config, self._kernel(kernel), *arguments)

    def order(self, after: int, before: int) -> None:
        device, action = self._device, "ordering streams"
        driver = device.driver
        with device.current(action):
            event = device.call(action, driver.cuEventCreate(driver.CUevent_flags.CU_EVENT_DISABLE_TIMING))
            try:
                device.call(action, driver.cuEventRecord(event, before))
                device.call(action, driver.cuStreamWaitEvent(after, event, 0))
            finally:
                driver.cuEventDestroy(event)  # the driver keeps it until it is reached

    def synchronize(self) -> None:
        device, action = self._device, "work queued on the GPU"
        with device.current(action):
            device.call(action, device.driver.cuCtxSynchronize())

    def wait(self, stream: int) -> None:
        device, action = self._device, "work queued on the GPU"
        with device.current(action):
            device.call(action, device.driver.cuStreamSynchronize(stream))

    def mark(self, stream: int) -> Callable[[], None]:
        return _Mark(self._device, stream).wait

    def read(self, pointer: int, into: NDArray[Any], stream: int) -> None:
        device, action = self._device, "copying from the GPU"
        with device.current(action):
            device.call(action, device.driver.cuMemcpyDtoHAsync(into.ctypes.data, pointer, into.nbytes, stream))
        self.wait(stream)

    def write(self, pointer: int, source: NDArray[Any], stream: int) -> None:
        device, action = self._device, "copying to the GPU"
        with device.current(action):
            device.call(action, device.driver.cuMemcpyHtoDAsync(pointer, source.ctypes.data, source.nbytes, stream))
        self.wait(stream)

    def device_of(self, pointer: int) -> int:
        device, action = self._device, "asking whose memory an array is"
        ordinal = device.driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        with device.current(action):
            return int(device.call(action, device.driver.cuPointerGetAttribute(ordinal, pointer)))

    def _kernel(self, name: str) -> Any:
        with self._lock:
            if not self._kernels:
                code = compile_kernels(self._device.core, "sm_{}{}".format(*self._device.capability))
                self._kernels = {kernel: code.get_kernel(kernel) for kernel in KERNELS}
            return self._kernels[name]


class _Mark:
    """An event on someone's stream."""

    def __init__(self, device: CudaCoreDevice, stream: int) -> None:
        self._device, action = device, "marking a stream"
        with device.current(action):
            self._event = device.call(action, device.driver.cuEventCreate(device.driver.CUevent_flags.CU_EVENT_BLOCKING_SYNC))
            device.call(action, device.driver.cuEventRecord(self._event, stream))

    def wait(self) -> None:
        action = "work queued on the GPU"
        with self._device.current(action):
            self._device.call(action, self._device.driver.cuEventSynchronize(self._event))

    def __del__(self) -> None:
        if hasattr(self, "_event"):
            with suppress(BackendError), self._device.current("destroying an event"):
                self._device.driver.cuEventDestroy(self._event)


_Unfreed: TypeAlias = tuple[Launcher, int, int, object]  # and pointer, stream, the stream's owner
_LATE: deque[_Unfreed] = deque()  # memory that could not be waited for yet


class DeviceMemory(Resource):
    """Memory in the order of one stream: allocated, used and freed there.

    Others may be let in: a stream told to us by follow(), or, after expose(), any. Since work of theirs cannot be seen, the
    memory is then given back after the whole device has been waited for; where that cannot be, with the next such memory, or
    before the next is taken. `owner`: of the stream, which must not go before.
    """

    def __init__(self, launcher: Launcher, nbytes: int, stream: int, owner: object = None) -> None:
        with suppress(BackendError):  # which this work has no part in
            free_late()
        self._launcher, self._stream, self._owner, self._exposed = launcher, stream, owner, False
        self.pointer = launcher.allocate(nbytes, stream)

    def follow(self, stream: int) -> None:
        """Let `stream` see what is queued on ours."""
        if stream != self._stream:
            self._exposed = True
            self._launcher.order(stream, self._stream)

    def expose(self) -> None:
        """Someone may use it on a stream that we are not told."""
        self._exposed = True

    def close(self) -> None:
        pointer, self.pointer = self.pointer, 0
        if pointer and self._exposed:
            _LATE.append((self._launcher, pointer, self._stream, self._owner))
            free_late()
        elif pointer:
            self._launcher.free(pointer, self._stream)

    def __del__(self) -> None:
        if getattr(self, "pointer", 0):
            with suppress(BackendError):  # when the process ends, the driver may be gone first
                self.close()


def free_late() -> None:
    """Give back what is exposed and closed, unless a graph is being captured. Raises BackendError where the device has failed."""
    if _LATE and CAPTURING.acquire(blocking=False):
        try:
            while _LATE:
                launcher, pointer, stream, _ = unfreed = _LATE.popleft()
                try:
                    launcher.synchronize()
                except BackendError:
                    _LATE.append(unfreed)
                    raise
                launcher.free(pointer, stream)
        finally:
            CAPTURING.release()


def compile_kernels(core: Any, architecture: str) -> Any:
    """The kernels as cuda-core's ObjectCode for, say, "sm_86". Needs NVRTC (pip: nvidia-cuda-nvrtc), no GPU."""
    options = core.ProgramOptions(name=SOURCE, arch=architecture, fma=False, ftz=False, prec_div=True)
    return core.Program(source(), "c++", options).compile("cubin")


def source() -> str:
    """CUDA C++ of the kernels."""
    return files(__package__ or "restore_sdk.cuda").joinpath(SOURCE).read_text(encoding="utf-8")


@contextmanager
def scratch(launcher: Launcher, nbytes: int, stream: int) -> Iterator[int]:
    """Pointer to memory for work on `stream` that is queued inside the block."""
    with DeviceMemory(launcher, nbytes, stream) as memory:
        yield memory.pointer


@cache
def open_launcher(index: int) -> Launcher:
    """The launcher of GPU `index`, one for the process. Raises MissingExtraError, DeviceUnavailableError, BackendError."""
    return CudaLauncher(index)
