"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it if the block succeeds and removed if it does not.

    The file gets the permissions that the umask gives a new file, whatever the block writes it with.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        temporary.chmod(mode)  # safetensors and Lightning make files that only the owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
