"""Freed memory kept for the next iteration: glibc hands it back to the system otherwise, and every page is cleared anew."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# parameters of malloc.h; meanwhile no block is mapped by itself, however large (a threshold ends at 32 MiB, which one tensor of
# 512 x 512 pixels exceeds), and the heap shrinks only where 2 GiB are free at its end
_TRIM, _MAP, _MOST_MAPS = -1, -3, -4
_KEEPING = {_MOST_MAPS: 0, _TRIM: (1 << 31) - 1}
_USUAL = {_MOST_MAPS: 65536, _MAP: 128 << 10, _TRIM: 128 << 10}  # glibc's own


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside, an iteration on the CPU spends no time on such pages. A setting of the whole process, so for programs only; it does
    nothing where the C library is not glibc."""
    _set(_KEEPING)
    try:
        yield
    finally:
        _set(_USUAL)


def _set(values: dict[int, int]) -> None:
    try:
        library = ctypes.CDLL(None)
        change, trim = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return
    for parameter, value in values.items():
        change(parameter, value)
    if values is _USUAL:
        trim(0)
