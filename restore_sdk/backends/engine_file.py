"""One engine of the cache, or its compiled kernels, as one file: a line of magic, a line of JSON that says what it is, the bytes.

One file, because two cannot be renamed at once. Nothing of it is believed before all of it was compared: an engine carries
code, and a runtime that is handed a damaged one may end the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

MAGIC = b"restore-sdk engine\n"
SCHEMA = 1
LONGEST_HEADER = 1 << 16  # bytes
LONGEST_BUILD = 1e9  # seconds; more is nonsense
OWNER_ONLY = 0o600
NOT_OURS = "it belongs to another user, or others may write to it"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineKey:
    """Everything an engine depends on. Two engines are the same only if all of it is."""

    onnx_sha256: str
    api: str  # "tensorrt" or "tensorrt_rtx"
    api_version: str  # in full
    driver: str
    compute_capability: str
    gpu: str  # its name
    profile: Mapping[str, Any]  # EngineProfile.as_json()
    precision: str  # ModelSpec.precision
    options: Mapping[str, Any]  # EngineOptions.as_json(): every builder option

    def facts(self) -> dict[str, Any]:
        """In JSON types, with our own schema."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
        facts: dict[str, Any] = json.loads(json.dumps({**plain, "schema": SCHEMA}))
        return facts

    def digest(self) -> str:
        """SHA-256 over the facts, hexadecimal: the file's name."""
        return digest_of(self.facts())


class BadEngineFileError(Exception):
    """A file that is not to be trusted, and why. Never leaves the cache."""


@dataclass(frozen=True, slots=True)
class EngineFile:
    """A file that passed every check."""

    facts: Mapping[str, Any]
    seconds: float  # that the build took
    payload: bytes


def digest_of(facts: Mapping[str, Any]) -> str:
    """SHA-256 of the facts of a key, hexadecimal."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def packed(facts: Mapping[str, Any], payload: bytes, seconds: float) -> tuple[bytes, bytes]:
    """What a file begins with, and what follows. facts: of its key, whose digest is its name."""
    header = {
        "key": dict(facts),
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
        "payload_size": len(payload),
        "seconds": round(seconds, 3),
    }
    return MAGIC + json.dumps(header, sort_keys=True).encode() + b"\n", payload


def read_engine(path: Path) -> EngineFile:
    """Read `path`, <digest>.engine or .kernels, and check it: whose it is, that it is whole, that name, key and hash agree.

    Raises FileNotFoundError where there is none, and BadEngineFileError.
    """
    content = _owned_bytes(path)
    head, payload_start = _head(content)
    facts, wanted, size = head.get("key"), head.get("payload_sha256"), head.get("payload_size")
    if not isinstance(facts, dict) or digest_of(facts) != path.stem:
        raise BadEngineFileError("it is another engine than its name says")
    payload = content[payload_start:]
    if len(payload) != size:
        raise BadEngineFileError(f"it holds {len(payload)} of {size} bytes")
    if hashlib.sha256(payload).hexdigest() != wanted:
        raise BadEngineFileError("its bytes are not those that were written (sha256 differs)")
    seconds = head.get("seconds")
    known = isinstance(seconds, (int, float)) and 0 <= seconds < LONGEST_BUILD
    return EngineFile(facts, float(seconds or 0) if known else 0.0, payload)


def is_ours(status: os.stat_result) -> bool:
    """Whether a file or folder belongs to this user and nobody else may write to it. Windows keeps caches apart by itself."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _owned_bytes(path: Path) -> bytes:
    # O_NONBLOCK: a pipe of that name would keep us waiting for someone who writes
    flags = (getattr(os, name, 0) for name in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"))
    try:
        descriptor = os.open(path, sum(flags, os.O_RDONLY))
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise BadEngineFileError(f"it cannot be read ({exc.strerror})") from exc
    status = os.fstat(descriptor)
    problem = "it is no file" if not stat.S_ISREG(status.st_mode) else None if is_ours(status) else NOT_OURS
    if problem is not None:
        os.close(descriptor)
        raise BadEngineFileError(problem)
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read()
        except OSError as exc:
            raise BadEngineFileError(f"it cannot be read ({exc.strerror})") from exc


def _head(content: bytes) -> tuple[dict[str, Any], int]:
    end = content.find(b"\n", len(MAGIC), len(MAGIC) + LONGEST_HEADER)
    if not content.startswith(MAGIC) or end < 0:
        raise BadEngineFileError("it is no engine of restore-sdk, or its beginning is damaged")
    try:
        head = json.loads(content[len(MAGIC) : end])
    except (ValueError, RecursionError) as exc:
        raise BadEngineFileError("its beginning is damaged") from exc
    if not isinstance(head, dict):
        raise BadEngineFileError("its beginning is damaged")
    return head, end + 1
