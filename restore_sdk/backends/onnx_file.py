"""Looks into the bytes of an ONNX file before any runtime does: is it whole, is it self-contained, what spec does it carry.

An ONNX file is one protobuf message. Only its framing is walked (tag, length, payload: https://protobuf.dev/programming-guides/encoding),
weights are skipped by their length, so a file of any size is checked in well under a millisecond for each hundred nodes and
neither the `onnx` package nor a runtime is needed. Tensors that point to another file are refused, wherever they hide: a
location such as `../../key` would make the runtime read what the model's author chose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from restore_sdk.backends.regular_files import regular_bytes
from restore_sdk.errors import ModelDamagedError, ModelHashError

DEEPEST = 64  # nested messages; ONNX Runtime's own parser stops at 100
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MODEL_GRAPH, MODEL_METADATA = 7, 14
TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 13, 14

# Message -> field number -> the message found there, for every path that leads to a tensor; numbers from onnx.proto.
PATHS: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "Model": {7: "Graph", 20: "Training", 25: "Function"},
        "Training": {1: "Graph", 2: "Graph"},
        "Function": {7: "Node", 11: "Attribute"},
        "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
        "Node": {5: "Attribute"},
        "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
        "Sparse": {1: "Tensor", 2: "Tensor"},
        "Tensor": {},
    }
)

Value: TypeAlias = "int | memoryview"


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A file that passed the checks: its bytes, its sha256 (hexadecimal) and its metadata map."""

    path: Path
    content: bytes
    sha256: str
    metadata: Mapping[str, str]


def read_onnx(path: Path, *, sha256: str | None = None) -> OnnxFile:
    """Read `path` once and check it. Raises ModelHashError if its sha256 is not `sha256`, ModelDamagedError for anything that
    is not one whole, self-contained ONNX model."""
    try:
        content = regular_bytes(path)
    except IsADirectoryError as exc:
        raise ModelDamagedError(path, "it is a directory; pass the path of an .onnx file") from exc
    except OSError as exc:
        raise ModelDamagedError(path, f"it cannot be read ({exc.strerror}); pass the path of a readable .onnx file") from exc
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise ModelHashError(path, digest, sha256)
    return OnnxFile(path, content, digest, _checked_metadata(path, content))


def _checked_metadata(path: Path, content: bytes) -> dict[str, str]:
    if not content:
        raise ModelDamagedError(path, "the file is empty; copy or export it again")
    try:
        top = list(_fields(memoryview(content)))
        external = _has_external_data("Model", memoryview(content), 0)
        metadata = dict(_entry(value) for number, value in top if number == MODEL_METADATA and isinstance(value, memoryview))
    except (_MalformedError, UnicodeDecodeError) as exc:
        raise ModelDamagedError(path, f"it is cut short or not ONNX ({exc}); copy or export it again") from exc
    if not any(number == MODEL_GRAPH for number, _ in top):
        raise ModelDamagedError(path, "it holds no graph; pass an .onnx file")
    if external:
        raise ModelDamagedError(path, "its weights lie in another file (external data); export it again as a single file")
    return metadata


def _has_external_data(message: str, payload: memoryview, depth: int) -> bool:
    """Whether any tensor below says that its data is elsewhere; `payload` is a message of kind `message`."""
    if depth > DEEPEST:
        raise _MalformedError(f"messages nested deeper than {DEEPEST}")
    if message == "Tensor":
        return any(_points_elsewhere(number, value) for number, value in _fields(payload))
    inside = PATHS[message]
    return any(
        _has_external_data(inside[number], value, depth + 1)
        for number, value in _fields(payload)
        if number in inside and isinstance(value, memoryview)
    )


def _points_elsewhere(number: int, value: Value) -> bool:
    return number == TENSOR_EXTERNAL_DATA or (number == TENSOR_DATA_LOCATION and value != 0)


def _entry(payload: memoryview) -> tuple[str, str]:
    """Key and value of a StringStringEntryProto."""
    texts = {number: str(value, "utf-8") for number, value in _fields(payload) if isinstance(value, memoryview)}
    return texts.get(1, ""), texts.get(2, "")


class _MalformedError(ValueError):
    """Bytes that are no protobuf message."""


def _fields(payload: memoryview) -> Iterator[tuple[int, Value]]:
    """(field number, value) of one message; a value is an int, or the bytes of a length-delimited or fixed-width field."""
    position = 0
    while position < len(payload):
        tag, position = _varint(payload, position)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise _MalformedError("field number 0")
        if kind == VARINT:
            number_value, position = _varint(payload, position)
            yield number, number_value
            continue
        size, position = _size(payload, position, kind)
        if position + size > len(payload):
            raise _MalformedError(f"a field of {size} bytes runs past the end")
        yield number, payload[position : position + size]
        position += size


def _size(payload: memoryview, position: int, kind: int) -> tuple[int, int]:
    """Byte length of a field's payload, and where that payload starts."""
    if kind == LENGTH:
        return _varint(payload, position)
    if kind in (FIXED64, FIXED32):
        return (8 if kind == FIXED64 else 4), position
    raise _MalformedError(f"wire type {kind}")


def _varint(payload: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(payload) and shift < 70:
        byte = payload[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _MalformedError("an unfinished number")
