"""The cache seen from outside: what is in it, whether it is sound, and how it is emptied."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_sdk.backends.engine_cache import KERNELS_SUFFIX, LOCK_SUFFIX, PART_SUFFIX, SUFFIX, evict
from restore_sdk.backends.engine_file import BadEngineFileError, read_engine
from restore_sdk.backends.engine_lock import locked_now
from restore_sdk.errors import OptionsError

_SHOWN = 40  # characters of a name that is too long
ABANDONED_SECONDS = 3600  # a temporary file this old is of a process that died


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the cache. `facts`: of its key, empty where `problem` says why it would not be used."""

    path: Path
    size: int  # bytes
    last_used: float  # seconds since 1970
    build_seconds: float
    facts: Mapping[str, Any]
    problem: str | None

    def as_json(self) -> dict[str, Any]:
        return {
            "engine": self.path.stem,
            "path": str(self.path),
            "size": self.size,
            "last_used": self.last_used,
            "build_seconds": self.build_seconds,
            "ok": self.problem is None,
            "problem": self.problem,
            "key": dict(self.facts),
        }


def entries(folder: Path) -> tuple[Entry, ...]:
    """Every engine of `folder`, read and checked whole, the most recently used first; none where there is no folder.

    Raises OptionsError for a folder that the system cannot look for.
    """
    return _entries(folder, SUFFIX)


def kernels(folder: Path) -> tuple[Entry, ...]:
    """The same of what engines compiled as they ran."""
    return _entries(folder, KERNELS_SUFFIX)


def _entries(folder: Path, suffix: str) -> tuple[Entry, ...]:
    try:
        folder.is_dir()
    except OSError as exc:  # a name that is too long
        raise OptionsError("XDG_CACHE_HOME", f"{str(folder)[:_SHOWN]}...", f"a folder that can exist ({exc.strerror})") from exc
    found = [entry for path in folder.glob(f"*{suffix}") if (entry := _entry(path)) is not None]
    return tuple(sorted(found, key=lambda entry: -entry.last_used))


def prune(folder: Path, limit: int) -> tuple[Path, ...]:
    """Remove what would not be used, engines and their kernels, what dead processes left, then the least recently used beyond
    `limit` bytes.

    Returns the entries that were removed.
    """
    found = (*entries(folder), *kernels(folder))
    removed = [entry.path for entry in found if entry.problem is not None and _removed(entry.path)]
    removed += evict(folder, limit)
    for path in folder.glob(f".*{PART_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()
    for path in folder.glob(f"*{LOCK_SUFFIX}"):
        with contextlib.suppress(OSError), locked_now(path) as free:
            if free:
                path.unlink()
    return tuple(removed)


def _entry(path: Path) -> Entry | None:
    try:
        status = path.lstat()
        file = read_engine(path)
    except FileNotFoundError:  # removed meanwhile
        return None
    except BadEngineFileError as exc:
        return Entry(path, status.st_size, status.st_mtime, 0.0, {}, str(exc))
    return Entry(path, status.st_size, status.st_mtime, file.seconds, file.facts, None)


def _removed(path: Path) -> bool:
    """Whether it is gone now. A folder in an engine's place goes too if it is empty; anything more in it is someone's."""
    for remove in (path.unlink, path.rmdir):
        with contextlib.suppress(OSError):
            remove()
            return True
    return False
