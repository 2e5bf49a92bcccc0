"""A file appears whole under its name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from restore_sdk.errors import ImageWriteError

Buffer = bytes | memoryview

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or write to another disk",
    errno.EDQUOT: "the disk quota is used up; free some space or write to another disk",
    errno.EACCES: "permission denied; pick a folder you may write to, or change its permissions",
    errno.EPERM: "permission denied; pick a folder you may write to, or change its permissions",
    errno.EROFS: "the file system is read-only; pick another folder",
    errno.ENAMETOOLONG: "the name is too long for this file system; shorten it",
    errno.ELOOP: "the path is a loop of symbolic links; pick another name",
}


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise ImageWriteError for a target that could not be written anyway, before any work is spent on it."""
    if "\0" in str(path):
        raise ImageWriteError(path, "its name has a null character; pick another name")
    if os.path.isdir(path):  # unlike Path.is_dir, False for a name that is too long; writing says so
        raise ImageWriteError(path, "it is a directory; give the name of a file in it")
    target = resolve_target(path)
    folder = target.parent
    if not os.path.exists(folder):
        raise ImageWriteError(path, f"the folder {folder} does not exist; create it first, for example with mkdir -p")
    if not os.path.isdir(folder):
        raise ImageWriteError(path, f"{folder} is a file, not a folder; pick another folder")
    if os.path.exists(target) and not os.path.isfile(target):  # a rename would replace a device or pipe
        raise ImageWriteError(path, "it is not a regular file; give the name of a file")
    if not overwrite and os.path.lexists(path):
        raise exists_error(path)


def exists_error(path: Path) -> ImageWriteError:
    """What to say of a target that may not be replaced."""
    return ImageWriteError(path, "it exists already; pass overwrite=True or pick another name")


def resolve_target(path: Path) -> Path:
    """The file behind a symbolic link (which may not exist yet); the path itself otherwise."""
    target = Path(os.path.realpath(path)) if os.path.islink(path) else path
    if os.path.islink(target):
        raise ImageWriteError(path, _REASONS[errno.ELOOP])
    return target


def write_atomically(path: Path, parts: Iterable[Buffer], *, overwrite: bool) -> None:
    """Write `parts` under a temporary name in the same folder, then rename. Symbolic links are written through.

    A new file gets the permissions that the umask leaves, a replaced one keeps its own. Whatever fails, the temporary
    file is gone and an old target is untouched. Raises ImageWriteError.
    """
    target = resolve_target(path)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        _write_parts(temporary, parts, mode_of(target))
        _publish(temporary, target, overwrite=overwrite)
    except FileExistsError as exc:
        raise exists_error(path) from exc
    except OSError as exc:
        reason = _REASONS.get(exc.errno or 0, f"{exc.strerror or exc}; check the folder and the disk")
        raise ImageWriteError(path, reason) from exc
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def mode_of(target: Path) -> int | None:
    """Permission bits of an existing file, None where there is none."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except OSError:
        return None


def _write_parts(temporary: Path, parts: Iterable[Buffer], mode: int | None) -> None:
    # tempfile would make it 0600 for good; os.open lets the umask decide, as for any new file
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "wb") as file:
        for part in parts:
            file.write(part)
    if mode is not None:
        temporary.chmod(mode)


def _publish(temporary: Path, target: Path, *, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)  # unlike a rename, refuses a target that appeared meanwhile
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(target) from None
        temporary.replace(target)
