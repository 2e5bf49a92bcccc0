"""The journal of an unfinished huge image: which regions lie in the file beside it, of what source, by what model.

One line of JSON says what the work is, each following line is a finished region. A line that a kill cut off does not count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restore_sdk.errors import ImageWriteError
from restore_sdk.image.big_facts import Record

try:
    import fcntl
except ImportError:  # Windows has none: there two runs at once are the user's to avoid
    fcntl = None  # type: ignore[assignment]


class ResumeError(ImageWriteError):
    """Unfinished work lies beside the target, and it is not that of this call. `journal` is its journal."""

    def __init__(self, path: Path, reason: str, journal: Path) -> None:
        super().__init__(path, reason)
        self.journal = journal


class Journal:
    """An open journal; `records` are the regions that it says are finished."""

    def __init__(self, path: Path, target: Path, work: Mapping[str, object], *, overwrite: bool) -> None:
        """Go on with the journal at `path`, or begin it.

        work       what the finished regions depend on, as JSON types
        overwrite  start over where the journal is that of other work; `started_over` then says why

        Raises ResumeError, where it is not allowed, or where another process is at work on the same target.
        """
        self._path, self._target = path, target
        self.started_over: str | None = None
        self.records: list[Record] = []
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 closed by close()
        try:
            self._lock()
            self._load(json.loads(json.dumps(work)), overwrite)
        except BaseException as exc:
            if isinstance(exc, OSError) and not self.records:  # the disk takes not even the first line
                self._path.unlink(missing_ok=True)
            self._file.close()
            raise

    def add(self, record: Record) -> None:
        """One more region is finished and in its file."""
        self._write(_line(record))

    def restart(self, work: Mapping[str, object], records: list[Record]) -> None:
        """Forget all regions but `records`."""
        self._file.truncate(0)
        self._write(b"".join(map(_line, (work, *records))))
        self.records = records

    def close(self) -> None:
        """Release the file and its lock."""
        self._file.close()

    def remove(self) -> None:
        """The work is finished, or worth nothing."""
        self._path.unlink(missing_ok=True)
        self._file.close()

    def _write(self, data: bytes) -> None:
        while data:
            data = data[self._file.write(data) :]

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            reason = "another process is restoring into it; wait for it, or name another target"
            raise ResumeError(self._target, reason, self._path) from exc
        except OSError:  # a file system without locks
            return

    def _load(self, work: dict[str, Any], overwrite: bool) -> None:
        self._file.seek(0)
        lines = self._file.read().split(b"\n")[:-1]  # what follows the last line end was cut off by a kill
        wrong, records = _differences(lines, work)
        if wrong is None and lines:
            self._file.truncate(sum(len(line) + 1 for line in lines))
            self.records = records
            return
        if wrong is None:
            self.restart(work, [])
            return
        if not overwrite:
            remedy = "repeat it as it was, allow overwriting, or delete"
            raise ResumeError(
                self._target, f"an interrupted restoration lies beside it and {wrong}; {remedy} {self._path.name}", self._path
            )
        self.started_over = f"an interrupted restoration was started over: {wrong}"
        self.restart(work, [])


def _differences(lines: list[bytes], work: dict[str, Any]) -> tuple[str | None, list[Record]]:
    """Why the journal is not that of `work`, None if it is; and its records."""
    if not lines:
        return None, []
    try:
        before, *records = [json.loads(line) for line in lines]
    except ValueError:
        return "its journal is damaged", []
    if not isinstance(before, dict) or not all(isinstance(record, dict) and "cell" in record for record in records):
        return "its journal is damaged", []
    names = sorted(name for name in before.keys() | work.keys() if before.get(name) != work.get(name))
    return (f"its {' and '.join(names)} differed", []) if names else (None, records)


def _line(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def fingerprint(path: Path) -> list[object]:
    """What shows that a file, or the files below a folder, are the same as before: sizes and times."""
    if path.is_dir():
        files = sorted(path.rglob("*"))
        found = [os.stat(file) for file in files if file.is_file()]
        return [len(found), sum(entry.st_size for entry in found), max((entry.st_mtime_ns for entry in found), default=0)]
    entry = os.stat(path)
    return [entry.st_size, entry.st_mtime_ns]
