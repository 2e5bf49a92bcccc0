"""From the unfinished name to the final one, for files and for folders, and what to say when a disk says no."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from restore_sdk.errors import ImageWriteError
from restore_sdk.image.atomic import exists_error, mode_of, resolve_target

_KEPT = "what is finished is kept: free some space and run it again, or write to another disk"
_REASONS = {
    errno.ENOSPC: f"the disk is full; {_KEPT}",
    errno.EDQUOT: f"the disk quota is used up; {_KEPT}",
    errno.EFBIG: f"the file is larger than the system allows; {_KEPT}",
    errno.EACCES: "permission denied; pick a folder you may write to, or change its permissions",
    errno.EPERM: "permission denied; pick a folder you may write to, or change its permissions",
    errno.EROFS: "the file system is read-only; pick another folder",
    errno.ENAMETOOLONG: "the name is too long for this file system; shorten it",
}


@contextmanager
def written(path: Path) -> Iterator[None]:
    """What the system refuses while `path` is made becomes ImageWriteError."""
    try:
        yield
    except OSError as exc:
        reason = _REASONS.get(exc.errno or 0, f"{exc.strerror or exc}; check the folder and the disk")
        raise ImageWriteError(path, reason) from exc


def unfinished_names(path: Path) -> tuple[Path, Path]:
    """Beside `path`: where the unfinished image lies, and its journal. A later call finds them by these names."""
    target = resolve_target(path)
    return target.with_name(f".{target.name}.unfinished"), target.with_name(f".{target.name}.journal")


def publish(partial: Path, path: Path, *, overwrite: bool) -> None:
    """Give the finished file or folder its name. A file is replaced in one step, a folder in two.

    Raises ImageWriteError.
    """
    target = resolve_target(path)
    if not overwrite and os.path.lexists(path):
        raise exists_error(path)
    with written(path):
        mode = mode_of(target)
        if not target.is_dir():
            if mode is not None:
                partial.chmod(mode)
            partial.replace(target)
            return
        old = target.with_name(f".{target.name}.{secrets.token_hex(8)}.old")
        target.rename(old)
        try:
            partial.rename(target)
        except OSError:
            old.rename(target)
            raise
    with suppress(OSError):
        shutil.rmtree(old)
