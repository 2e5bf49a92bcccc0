"""What the readers of huge images raise on damaged data, told as one error."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from restore_sdk.errors import ImageReadError

# Of tifffile, zarr and the codecs under them, whose own errors are ValueErrors and RuntimeErrors
DAMAGE = (
    *(ValueError, RuntimeError, TypeError, KeyError, IndexError, AttributeError, EOFError, OSError, AssertionError),
    *(struct.error, ArithmeticError),
)


@contextmanager
def damage_told(path: Path, what: str, remedy: str = "get a whole copy of it") -> Iterator[None]:
    """Whatever goes wrong while `path` is read becomes ImageReadError: `what` is wrong, and the `remedy`."""
    try:
        yield
    except ImageReadError:
        raise
    except DAMAGE as exc:
        if isinstance(exc, FileNotFoundError) and not path.exists():
            raise ImageReadError(path, "there is no such file; check the path") from exc
        raise ImageReadError(path, f"{what} ({exc}); {remedy}") from exc
