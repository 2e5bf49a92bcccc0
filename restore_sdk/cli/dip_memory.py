"""Freed memory kept for the next iteration: glibc hands it back to the system otherwise, and every page is cleared anew."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# of malloc.h: parameter, what it is set to meanwhile (the most that glibc takes; 1 GiB), and glibc's own value
_TRIM, _MAP = -1, -3
_KEEPING, _USUAL = {_MAP: 32 << 20, _TRIM: 1 << 30}, {_MAP: 128 << 10, _TRIM: 128 << 10}


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
