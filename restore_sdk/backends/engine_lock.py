"""One process at a time does a piece of work: a lock on a file, which the system takes back from a process that dies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

POLL_SECONDS = 0.05


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, made if it is not there; other threads and processes wait.

    Raises OSError where no lock can be had: a folder that cannot be written, a file system without locks.
    """
    descriptor = _attempt(path)
    while descriptor is None:
        time.sleep(POLL_SECONDS)
        descriptor = _attempt(path)
    try:
        yield
    finally:
        _release(descriptor)


@contextmanager
def locked_now(path: Path) -> Iterator[bool]:
    """Hold the lock of `path` if it is free; whether it was. Raises OSError like `locked`."""
    descriptor = _attempt(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            _release(descriptor)


def _attempt(path: Path) -> int | None:
    """The lock, or None. The file is opened anew each time: it may have been removed, and made again by another."""
    descriptor = _open(path)
    held = False
    try:
        held = _try(descriptor) and _is_still(descriptor, path)
    finally:
        if not held:
            os.close(descriptor)
    return descriptor if held else None


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the file we hold is the one that others will find."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":

    def _try(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _release(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        os.close(descriptor)

else:

    def _try(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # flock, not lockf: it tells threads of a process apart
        except BlockingIOError:
            return False
        return True

    def _release(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough where a child process has inherited it
        os.close(descriptor)
