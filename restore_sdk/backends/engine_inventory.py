"""The cache seen from outside: what is in it, whether it is sound, and how it is emptied."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_sdk.backends.engine_cache import LOCK_SUFFIX, PART_SUFFIX, SUFFIX, evict
from restore_sdk.backends.engine_file import BadEngineFileError, read_engine
from restore_sdk.backends.engine_lock import locked_now

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
    """Every entry of `folder`, read and checked whole, the most recently used first; none where there is no folder."""
    found = [entry for path in folder.glob(f"*{SUFFIX}") if (entry := _entry(path)) is not None]
    return tuple(sorted(found, key=lambda entry: -entry.last_used))


def prune(folder: Path, limit: int) -> tuple[Path, ...]:
    """Remove what would not be used, what dead processes left, then the least recently used beyond `limit` bytes.

    Returns the entries that were removed.
    """
    removed = [entry.path for entry in entries(folder) if entry.problem is not None and _removed(entry.path)]
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
    try:
        path.unlink()
    except OSError:
        return False
    return True
