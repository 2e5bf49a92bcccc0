"""A runtime's own exceptions as ours."""

from __future__ import annotations

from restore_sdk.cuda.vendor_words import OUT_OF_MEMORY
from restore_sdk.errors import BackendError, DeviceMemoryError


def translated(action: str, exc: Exception, tile: tuple[int, int] | None) -> BackendError:
    """DeviceMemoryError if that is what `exc` speaks of, else BackendError with its lines. `tile`: (height, width), pixels."""
    if isinstance(exc, MemoryError) or OUT_OF_MEMORY.search(str(exc)):
        return DeviceMemoryError(None, None, tile)
    return BackendError(f"{action}; the runtime says:", str(exc).splitlines())


def first_line(exc: Exception) -> str:
    """The gist of an exception; its type where it says nothing."""
    return next(iter(str(exc).splitlines()), type(exc).__name__)
