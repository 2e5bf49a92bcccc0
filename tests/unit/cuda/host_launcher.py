"""The kernels of kernels.cu as C++ on the host, behind the Launcher protocol: pointers are host pointers, streams are numbers."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from restore_sdk.cuda.launching import source
from restore_sdk.errors import DeviceMemoryError

# What CUDA's language has and C++ has not. Four threads in two blocks take turns, so that the kernels' own counting is tested.
SHIM = """
#include <cmath>
#include <cstring>
struct Place { unsigned x; };
static Place blockIdx, blockDim, gridDim, threadIdx;
#define __global__
#define __device__
static inline float __uint_as_float(unsigned bits) { float value; std::memcpy(&value, &bits, 4); return value; }
static inline unsigned __float_as_uint(float value) { unsigned bits; std::memcpy(&bits, &value, 4); return bits; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline void __threadfence_system() {}
static inline void atomicMin(unsigned* place, unsigned value) { if (value < *place) *place = value; }
static inline void atomicMax(unsigned* place, unsigned value) { if (value > *place) *place = value; }
static inline int __float2int_rn(float value) {
    if (value != value) return 0;
    if (value >= 2147483648.0f) return 2147483647;
    if (value < -2147483648.0f) return -2147483647 - 1;
    return (int)std::nearbyint(value);
}
extern "C" void place(unsigned block, unsigned thread) {
    blockIdx.x = block; threadIdx.x = thread; blockDim.x = 2; gridDim.x = 2;
}
"""
PLACES = [(block, thread) for block in (0, 1) for thread in (0, 1)]
C_TYPES = {np.int64: ctypes.c_longlong, np.float32: ctypes.c_float}


def compiled(folder: Path) -> ctypes.CDLL:
    """The kernels as a library; skips the test where there is no C++ compiler."""
    compiler = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler (g++, c++ or clang++) to run the CUDA kernels on the host with")
    text, library = folder / "kernels.cpp", folder / "kernels.so"
    text.write_text(SHIM + source(), encoding="utf-8")
    command = [compiler, "-O1", "-std=c++17", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(library), str(text)], check=True, capture_output=True, text=True)
    return ctypes.CDLL(str(library))


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
