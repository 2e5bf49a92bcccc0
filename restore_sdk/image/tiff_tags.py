"""TIFF directories, the structure under TIFF files and EXIF blocks alike: read, changed in place, and written.

Source: TIFF 6.0 (Adobe, 1992), section 2; Exif 2.32, section 4.6. BigTIFF (64-bit offsets; the BigTIFF design of libtiff) is
read alone: what is written here is classic.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}  # bytes of one value, by field type; these three are BigTIFF's
_UNITS = {5: 4, 10: 4}  # a rational is two integers
SHORT, LONG, RATIONAL, UNDEFINED = 3, 4, 5, 7

ORIENTATION, EXIF_IFD, GPS_IFD, INTEROP_IFD = 274, 34665, 34853, 40965
Buffer = bytes | bytearray | memoryview
_CLASSIC, _BIG = {b"II*\0": "<", b"MM\0*": ">"}, {b"II+\0": "<", b"MM\0+": ">"}
NESTED = frozenset({EXIF_IFD, GPS_IFD, INTEROP_IFD})


class TiffDamagedError(ValueError):
    """Offsets or counts that lead outside the data."""


@dataclass(frozen=True, slots=True)
class Field:
    """One tag: its field type, its values as they lie in the file, and where they lie (byte offset from the start)."""

    kind: int
    raw: bytes
    at: int = 0

    def integers(self, order: str) -> tuple[int, ...]:
        """The values of a field of whole numbers without a sign (order '<' or '>'); () for any other type."""
        code = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(self.kind)
        return struct.unpack(f"{order}{len(self.raw) // SIZES[self.kind]}{code}", self.raw) if code else ()

    def rational(self, order: str) -> float | None:
        """The first value of a RATIONAL field; None for any other type or a zero denominator."""
        if self.kind != RATIONAL or len(self.raw) < 8:
            return None
        numerator, denominator = struct.unpack_from(order + "II", self.raw)
        return numerator / denominator if denominator else None


Directory = dict[int, "Field | Directory"]


def byte_order(data: Buffer) -> str:
    """'<' or '>' from the first four bytes. Raises TiffDamagedError for anything but the header of a TIFF or BigTIFF."""
    order = (_CLASSIC | _BIG).get(bytes(data[:4]))
    if order is None or len(data) < (16 if is_big(data) else 8):
        raise TiffDamagedError("no TIFF header")
    return order


def is_big(data: Buffer) -> bool:
    """Whether the first four bytes are those of a BigTIFF."""
    return bytes(data[:4]) in _BIG


def classic_header(data: Buffer) -> bytes:
    """The first eight bytes of a classic TIFF in the byte order of `data`, whose directory follows them at once."""
    order = byte_order(data)
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)


def first_offset(data: Buffer) -> int:
    """Offset of the first directory."""
    code, at = ("Q", 8) if is_big(data) else ("I", 4)
    return int(struct.unpack_from(byte_order(data) + code, data, at)[0])


def read_fields(data: Buffer, offset: int) -> tuple[dict[int, Field], int]:
    """The tags of the directory at `offset`, and the offset of the next directory (0 after the last). Raises TiffDamagedError.

    A tag of an unknown type, or whose values lie outside the data, is left out, as readers of damaged EXIF do.
    """
    order, word, counter, entry = byte_order(data), *(("Q", "Q", 20) if is_big(data) else ("I", "H", 12))
    inside, head = struct.calcsize(f"={word}"), struct.calcsize(f"={counter}")  # bytes of an offset, and of the number of tags
    if not 8 <= offset <= len(data) - 6 or offset + head > len(data):
        raise TiffDamagedError(f"directory at byte {offset} lies outside the {len(data)} bytes")
    end = offset + head + entry * struct.unpack_from(order + counter, data, offset)[0]
    if end > len(data):
        raise TiffDamagedError(f"directory at byte {offset} is cut off")
    fields = {}
    for position in range(offset + head, end, entry):
        tag, kind, values = struct.unpack_from(f"{order}HH{word}", data, position)
        size, at = SIZES.get(kind, 0) * values, position + entry - inside
        if size > inside:
            at = struct.unpack_from(order + word, data, at)[0]
        if kind in SIZES and at + size <= len(data):
            fields[tag] = Field(kind, bytes(data[at : at + size]), at)
    following = struct.unpack_from(order + word, data, end)[0] if end + inside <= len(data) else 0
    return fields, following


def read_tree(data: Buffer, offset: int, depth: int = 0) -> Directory:
    """The directory at `offset` with its EXIF, GPS and interoperability directories inside, less the damaged ones."""
    fields, _ = read_fields(data, offset)
    tree: Directory = {}
    for tag, field in fields.items():
        if tag not in NESTED:
            tree[tag] = field
        elif depth < 3 and (pointer := field.integers(byte_order(data))):
            try:
                tree[tag] = read_tree(data, pointer[0], depth + 1)
            except TiffDamagedError:
                continue
    return tree


def write_tree(tree: Mapping[int, Field | Directory], offset: int, order: str) -> bytes:
    """Bytes of a directory (and those inside it) that is to lie at the even `offset`. No directory follows it."""
    entries, values = bytearray(), bytearray()
    start = offset + 2 + 12 * len(tree) + 4
    for tag in sorted(tree):
        value = tree[tag]
        if isinstance(value, dict):
            at = start + len(values)
            values += write_tree(value, at, order)
            value = Field(LONG, struct.pack(order + "I", at))
        entries += struct.pack(order + "HHI", tag, value.kind, len(value.raw) // SIZES[value.kind])
        if len(value.raw) <= 4:
            entries += value.raw.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "I", start + len(values))
            values += value.raw + bytes(len(value.raw) % 2)
    return struct.pack(order + "H", len(tree)) + bytes(entries) + bytes(4) + bytes(values)


def swap_order(tree: Mapping[int, Field | Directory]) -> Directory:
    """The same directory with the values in the other byte order."""
    return {tag: swap_order(value) if isinstance(value, dict) else _swap_field(value) for tag, value in tree.items()}


def _swap_field(field: Field) -> Field:
    width = _UNITS.get(field.kind, SIZES[field.kind])
    return field if width == 1 else Field(field.kind, np.frombuffer(field.raw, f"<u{width}").byteswap().tobytes())


def patch_integer(data: bytearray, field: Field, value: int) -> None:
    """Overwrite the first value of a SHORT or LONG field where it lies; every other byte stays as it is."""
    code = {SHORT: "H", LONG: "I"}.get(field.kind)
    if code and len(field.raw) and value < 1 << 8 * SIZES[field.kind]:
        struct.pack_into(byte_order(data) + code, data, field.at, value)
