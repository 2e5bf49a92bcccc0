"""The kernels of kernels.cu as C++ on the host, behind the Launcher protocol: pointers are host pointers, streams are numbers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from host_compiler import compiled_library, kernels

from restore_sdk.errors import DeviceMemoryError

PLACES = [(block, thread) for block in (0, 1) for thread in (0, 1)]
C_TYPES = {np.int64: ctypes.c_longlong, np.float32: ctypes.c_float}


def compiled(folder: Path) -> ctypes.CDLL:
    """The kernels as a library; skips the test where there is no C++ compiler."""
    return ctypes.CDLL(str(compiled_library(folder / "kernels.so", kernels(), "-Wextra", "-Werror")))


class HostLauncher:
    """Does at once what a GPU would queue, and writes down in which order: `events`."""

    index, kind = 0, 1  # kDLCPU

    def __init__(self, library: ctypes.CDLL, room: int | None = None) -> None:
        self.library, self.room = library, room
        self.buffers: dict[int, np.ndarray] = {}
        self.events: list[tuple[object, ...]] = []
        self.depth = 0

    @contextmanager
    def current(self, _action: str) -> Iterator[None]:
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def memory(self) -> tuple[int, int]:
        used = sum(buffer.nbytes for buffer in self.buffers.values())
        return (self.room or 0) - used, self.room or 0

    def allocate(self, nbytes: int, stream: int) -> int:
        self.events.append(("allocate", nbytes, stream))
        if self.room is not None and nbytes > self.memory()[0]:
            raise DeviceMemoryError(nbytes, None, (0, 0))
        buffer = np.full(nbytes, 0xA5, np.uint8)
        self.buffers[buffer.ctypes.data] = buffer
        return int(buffer.ctypes.data)

    def free(self, pointer: int, stream: int) -> None:
        self.events.append(("free", self.buffers.pop(pointer).nbytes, stream))

    def launch(self, kernel: str, items: int, arguments: tuple[int | np.generic, ...], stream: int) -> None:
        self.events.append((kernel, items, stream))
        converted = [
            C_TYPES[type(value)](value) if isinstance(value, np.generic) else ctypes.c_void_p(value) for value in arguments
        ]
        for block, thread in PLACES:
            self.library.place(block, thread)
            self.library[kernel](*converted)

    def order(self, after: int, before: int) -> None:
        self.events.append(("order", after, before))

    def synchronize(self) -> None:
        self.events.append(("synchronize",))

    def mark(self, stream: int) -> Callable[[], None]:
        self.events.append(("mark", stream))
        return lambda: self.events.append(("finished", stream))

    def device_of(self, _pointer: int) -> int:
        return 0


class NoKernels(HostLauncher):
    """For memory alone: needs no compiler."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]


class Interface:
    """A numpy array that says that it lies on a GPU, by __cuda_array_interface__ only."""

    def __init__(self, array: np.ndarray, **changes: object) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "strides": array.strides,
            "stream": 7,
            **changes,
        }
