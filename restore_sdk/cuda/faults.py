"""What CUDA libraries raise, as our own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from restore_sdk.cuda.memory import out_of_memory
from restore_sdk.cuda.vendor_words import OUT_OF_MEMORY
from restore_sdk.errors import BackendError, DeviceUnavailableError


@contextmanager
def translated(action: str, vendor: tuple[type[Exception], ...], required: int | None = None) -> Iterator[None]:
    """DeviceMemoryError where that is what the vendor's exception says, else BackendError. `required`: bytes asked for."""
    try:
        yield
    except vendor as exc:
        if OUT_OF_MEMORY.search(str(exc)):
            raise out_of_memory(required, None) from exc
        raise BackendError(f"{action} failed; the driver says:", str(exc).splitlines()) from exc


def check_index(index: int, count: int) -> None:
    """Refuse a device that is not there. Raises DeviceUnavailableError."""
    if not 0 <= index < count:
        available = [f"GPU {number}" for number in range(count)]
        raise DeviceUnavailableError(f"GPU {index}", available, f"pass an index below {count}")
