"""The ModelSpec inside an ONNX file. Every other byte of the file stays as it is.

A protobuf message is a sequence of (tag, length, payload) records; ModelProto.metadata_props is field 14 of the outermost one
(onnx/onnx, onnx.proto). Replacing that one record leaves the graph's bytes alone, which parsing and serialising would not
promise, and needs no `onnx` package.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.errors import ModelDamagedError
from restore_sdk.spec import METADATA_KEY, ModelSpec

METADATA_FIELD = 14
LENGTH_DELIMITED = 2


def read_stamped(path: Path) -> tuple[bytes, ModelSpec]:
    """Bytes of a model file and its spec. Raises ModelDamagedError and ModelSpecError."""
    file = read_onnx(path)
    return file.content, ModelSpec.from_metadata(file.metadata, sha256=file.sha256)


def stamped(content: bytes, spec: ModelSpec) -> bytes:
    """`content`, an ONNX model, with `spec` as its only metadata under METADATA_KEY. Raises ModelDamagedError."""
    try:
        kept = [content[start:stop] for start, stop, key in _records(content) if key != METADATA_KEY]
    except (IndexError, UnicodeDecodeError) as exc:
        raise ModelDamagedError("the model", f"it is cut short or not ONNX ({exc}); export it again") from exc
    return b"".join([*kept, _entry_record({METADATA_KEY: spec.to_json()})])


def fill_of(spec: ModelSpec) -> float | None:
    """What lost pixels hold, for a network that looks for them to fill them in; None for others, and where nothing says so."""
    try:
        fill = json.loads(spec.source.get("network", "{}"))["fill"]
    except (ValueError, KeyError, TypeError):
        return None
    return float(fill) if isinstance(fill, (int, float)) else None


def without_metadata(content: bytes) -> bytes:
    """`content` less every metadata entry: what two stampings of one graph share."""
    return b"".join(content[start:stop] for start, stop, key in _records(content) if key is None)


def described(path: Path, digest: str, size: int, spec: ModelSpec) -> dict[str, Any]:
    """A written model as JSON types: the head of every report. `digest` hexadecimal, `size` in bytes."""
    stated = dataclasses.asdict(spec)
    del stated["sha256"]
    return {"model": str(path), "sha256": digest, "size": size, "spec": stated}


def sha256(content: bytes) -> str:
    """Hexadecimal digest, as models.json and ModelSpec state it."""
    return hashlib.sha256(content).hexdigest()


def _records(content: bytes) -> Iterator[tuple[int, int, str | None]]:
    """(start, stop, metadata key or None) of each outermost record."""
    position = 0
    while position < len(content):
        start = position
        tag, position = _varint(content, position)
        payload, position = _extent(content, position, tag & 7)
        if position > len(content):
            raise IndexError("a record runs past the end")
        yield start, position, _key(content[payload:position]) if tag >> 3 == METADATA_FIELD else None


def _extent(content: bytes, position: int, wire_type: int) -> tuple[int, int]:
    """Where the payload at `position` starts, and where the next record does."""
    if wire_type == 0:
        return position, _varint(content, position)[1]
    if wire_type == LENGTH_DELIMITED:
        length, position = _varint(content, position)
        return position, position + length
    if wire_type in (1, 5):
        return position, position + (8 if wire_type == 1 else 4)
    raise IndexError(f"wire type {wire_type} does not exist")


def _key(entry: bytes) -> str:
    """Key (field 1) of a StringStringEntryProto."""
    position = 0
    while position < len(entry):
        tag, position = _varint(entry, position)
        payload, position = _extent(entry, position, tag & 7)
        if tag >> 3 == 1:
            return entry[payload:position].decode()
    return ""


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _entry_record(entry: Mapping[str, str]) -> bytes:
    ((key, value),) = entry.items()
    payload = _delimited(1, key.encode()) + _delimited(2, value.encode())
    return _delimited(METADATA_FIELD, payload)


def _delimited(field: int, payload: bytes) -> bytes:
    return _varint_bytes(field << 3 | LENGTH_DELIMITED) + _varint_bytes(len(payload)) + payload


def _varint_bytes(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
