"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class WriteError(OSError):
    """A file could not be written, for example because the disk is full; one that was there before is as it was."""

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror or str(cause))
        self.path = path

    def __str__(self) -> str:
        remedy = "what was there before is kept; make room, or choose another folder"
        return f"{self.path} cannot be written: {self.strerror}; {remedy}"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise WriteError, which names `path`, for an OSError in the block that names no file, as that of a full disk does."""
    try:
        yield
    except OSError as exc:
        if isinstance(exc, WriteError) or exc.filename is not None or exc.errno is None:
            raise
        raise WriteError(path, exc) from exc


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it if the block succeeds and removed if it does not.

    The file gets the permissions that the umask gives a new file, whatever the block writes it with. Raises WriteError where an
    OSError names no file.
    """
    temporary = temporary_name(path)
    try:
        with naming(path):
            temporary.touch()
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            temporary.chmod(mode)  # safetensors and Lightning make files that only the owner can read
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """Where `replacing` writes first."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")
