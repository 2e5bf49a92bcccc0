"""Engines built once and kept for this user. A kept engine is never trusted before it was compared, and never fatal.

The folder is readable by its user alone. An entry appears whole or not at all, one process builds while the others wait, the
least recently used go when the cap is reached, and whatever is damaged, cut short or not ours is built again and said so.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from restore_sdk.backends.engine_file import (
    OWNER_ONLY,
    BadEngineFileError,
    EngineKey,
    digest_of,
    is_ours,
    packed,
    read_engine,
)
from restore_sdk.backends.engine_lock import locked, locked_now
from restore_sdk.backends.user_folder import user_folder
from restore_sdk.errors import OptionsError

Outcome: TypeAlias = Literal["kept", "built", "rebuilt"]

DEFAULT_LIMIT = 4 << 30  # bytes
SUFFIX, LOCK_SUFFIX, PART_SUFFIX = ".engine", ".lock", ".part"
KERNELS_SUFFIX = ".kernels"  # what an engine's runtime compiled, see engine_kernels.py


@dataclass(frozen=True, slots=True)
class CachedEngine:
    """An engine's bytes. `outcome`: "kept" from earlier, "built", or "rebuilt" because the kept one could not be trusted;
    `notes`: what went wrong on the way, in sentences; `stored`: whether the next process will find it."""

    payload: bytes
    outcome: Outcome
    stored: bool
    notes: tuple[str, ...] = ()


class EngineCache:
    """The engines in `folder` (None: the user's cache folder), together at most `limit` bytes.

    Several threads and processes may use one folder. Only the errors of `build` and `on_wait` come out of `load_or_build`.
    """

    def __init__(self, folder: Path | None = None, *, limit: int = DEFAULT_LIMIT) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise OptionsError("limit", limit, "a number of bytes, at least 0")
        self._folder = folder or user_folder()
        self._limit = limit

    @property
    def folder(self) -> Path | None:
        """Where the engines are; None if this user has no cache folder, so that nothing is kept."""
        return self._folder

    def kept(self, key: EngineKey) -> CachedEngine | None:
        """The engine of `key` if it is in the cache; waits for nobody who builds it."""
        payload, _ = self._look(self._path(key.facts(), SUFFIX))
        return None if payload is None else CachedEngine(payload, "kept", stored=True)

    def load_or_build(
        self, key: EngineKey, build: Callable[[], bytes], *, on_wait: Callable[[], None] | None = None
    ) -> CachedEngine:
        """The engine of `key`, from the cache or from `build()`, which is called at most once.

        on_wait  called once if another process is building the same engine, before we wait for it.
        """
        kept = self.kept(key)
        if kept is not None:
            return kept
        path = self._path(key.facts(), SUFFIX)
        with self._turn(key, on_wait) as trouble:
            payload, damage = self._look(path)  # another process may have built it while we waited
            if payload is not None:
                return CachedEngine(payload, "kept", stored=True)
            started = time.perf_counter()
            payload = build()
            why = trouble or self._store(path, key.facts(), payload, time.perf_counter() - started)
        notes = (
            damage and f"the kept engine {path.name[:12]} was not used: {damage}; it was built again",
            why and f"the engine was not kept{why}; it is built again next time",
        )
        outcome: Outcome = "rebuilt" if damage else "built"
        return CachedEngine(payload, outcome, stored=why is None, notes=tuple(note for note in notes if note))

    def drop(self, key: EngineKey) -> None:
        """Remove an entry that the runtime refuses although its bytes are right; the next `load_or_build` builds it again."""
        self._remove(self._path(key.facts(), SUFFIX))

    def kernels(self, facts: Mapping[str, Any]) -> tuple[bytes | None, str | None]:
        """(the kernels kept under `facts` or None, what is wrong with what is kept or None)."""
        return self._look(self._path(facts, KERNELS_SUFFIX))

    def keep_kernels(self, facts: Mapping[str, Any], payload: bytes) -> str | None:
        """Keep `payload` under `facts`, in the place of what was there; the reason if that cannot be."""
        try:
            self._prepared()
        except OSError as exc:
            return _where(self._folder, exc)
        return self._store(self._path(facts, KERNELS_SUFFIX), facts, payload, 0.0)

    def drop_kernels(self, facts: Mapping[str, Any]) -> None:
        """Remove what the runtime does not take."""
        self._remove(self._path(facts, KERNELS_SUFFIX))

    def _remove(self, path: Path) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _look(self, path: Path) -> tuple[bytes | None, str | None]:
        """(the bytes of the entry or None, what is wrong with it or None)."""
        if self._folder is None:
            return None, None
        try:
            _check_private(self._folder)
            payload = read_engine(path).payload
        except OSError:  # nothing there, or a folder that we may not trust: `_prepared` says what is wrong with that
            return None, None
        except BadEngineFileError as exc:
            return None, str(exc)
        with contextlib.suppress(OSError):
            os.utime(path)  # last use, for `evict`
        return payload, None

    @contextmanager
    def _turn(self, key: EngineKey, on_wait: Callable[[], None] | None) -> Iterator[str | None]:
        """Our turn to build `key`. Gives the reason why nothing can be kept, if so."""
        with contextlib.ExitStack() as held:
            trouble = None
            try:
                folder = self._prepared()
            except OSError as exc:
                trouble = _where(self._folder, exc)
            else:
                _lock(held, folder / f"{key.digest()}{LOCK_SUFFIX}", on_wait)
            yield trouble

    def _prepared(self) -> Path:
        """The folder, made for this user alone. Raises OSError."""
        if self._folder is None:
            raise OSError("this user has no home folder; set XDG_CACHE_HOME")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if is_ours_to_close(self._folder):
            self._folder.chmod(0o700)
        _check_private(self._folder)
        return self._folder

    def _store(self, path: Path, facts: Mapping[str, Any], payload: bytes, seconds: float) -> str | None:
        """Keep `payload` at `path`; the reason if that cannot be."""
        folder = self._folder
        if folder is None or len(payload) > self._limit:
            return f": it has {len(payload)} bytes, the cache holds {self._limit}"
        temporary = path.with_name(f".{path.stem[:16]}.{secrets.token_hex(8)}{PART_SUFFIX}")
        try:
            _write(temporary, packed(facts, payload, seconds))
            temporary.replace(path)
        except OSError as exc:
            return _where(folder, exc)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        evict(folder, self._limit, spare=path)
        return None

    def _path(self, facts: Mapping[str, Any], suffix: str) -> Path:
        return (self._folder or Path()) / f"{digest_of(facts)}{suffix}"


def _lock(held: contextlib.ExitStack, path: Path, on_wait: Callable[[], None] | None) -> None:
    """Let `held` hold the lock of `path`. Where none can be had two may build the same, and the last one is kept. Raises what
    `on_wait` raises, an OSError too."""
    try:
        if held.enter_context(locked_now(path)):
            return
    except OSError:
        return
    if on_wait is not None:
        on_wait()
    with contextlib.suppress(OSError):
        held.enter_context(locked(path))


def evict(folder: Path, limit: int, *, spare: Path | None = None) -> tuple[Path, ...]:
    """Remove the least recently used entries until all together have at most `limit` bytes; `spare` stays. What was removed.

    An entry that cannot be removed (Windows: it is open) is passed over.
    """
    entries = []
    for path in (*folder.glob(f"*{SUFFIX}"), *folder.glob(f"*{KERNELS_SUFFIX}")):
        with contextlib.suppress(OSError):  # another process removed it meanwhile
            status = path.stat()
            entries.append((status.st_mtime_ns, status.st_size, path))
    total, removed = sum(size for _, size, _ in entries), []
    for _, size, path in sorted(entries):
        if total <= limit:
            break
        if path == spare:
            continue
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
            removed.append(path)
    return tuple(removed)


def is_ours_to_close(folder: Path) -> bool:
    """Whether `folder` is this user's own and open to others."""
    status = folder.stat()
    return hasattr(os, "geteuid") and status.st_uid == os.geteuid() and bool(status.st_mode & 0o077)


def _check_private(folder: Path) -> None:
    if not is_ours(folder.stat()):
        raise PermissionError(None, "the folder belongs to another user, or others may write to it", str(folder))


def _write(path: Path, parts: tuple[bytes, ...]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        for part in parts:
            file.write(part)


def _where(folder: Path | None, exc: OSError) -> str:
    return f" in {folder or 'any folder'}: {exc.strerror or exc}"
