"""A runtime's own exceptions as ours."""

from __future__ import annotations

import re

from restore_sdk.errors import BackendError, DeviceMemoryError

OUT_OF_MEMORY = re.compile(
    r"out of memory|bad[_ ]alloc|failed to allocate|cuda_error_out_of_memory|not enough memory|unable to allocate"
    r"|can't allocate memory"
    r"|(cudnn|cublas)_status_\w*alloc(ation)?_failed"
    r"|unable to find an engine to execute",  # no convolution's workspace had room
    re.IGNORECASE,
)


def translated(action: str, exc: Exception, tile: tuple[int, int] | None) -> BackendError:
    """DeviceMemoryError if that is what `exc` speaks of, else BackendError with its lines. `tile`: (height, width), pixels."""
    if isinstance(exc, MemoryError) or OUT_OF_MEMORY.search(str(exc)):
        return DeviceMemoryError(None, None, tile)
    return BackendError(f"{action}; the runtime says:", str(exc).splitlines())


def first_line(exc: Exception) -> str:
    """The gist of an exception; its type where it says nothing."""
    return next(iter(str(exc).splitlines()), type(exc).__name__)
