"""Metadata for a TIFF page that OpenCV encoded: the same pixels under a new, fuller directory at the end of the file."""

from __future__ import annotations

import struct
from fractions import Fraction

from restore_sdk.image.atomic import Buffer
from restore_sdk.image.exif import descriptive_tags
from restore_sdk.image.tiff_tags import (
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directory,
    Field,
    byte_order,
    read_fields,
    swap_order,
    write_tree,
)

_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _EXTRA_SAMPLES, _ICC_PROFILE = 282, 283, 296, 338, 34675
_INCH, _PLAIN_ALPHA = 2, 2


def add_tags(
    encoded: memoryview, *, exif: bytes | None, icc: bytes | None, dpi: tuple[float, float] | None, alpha: bool
) -> list[Buffer]:
    """Pieces of the TIFF file `encoded` (little-endian, one page) with the metadata, and with plain alpha declared as such."""
    offset = int(struct.unpack_from("<I", encoded, 4)[0])
    fields, _ = read_fields(encoded, offset)
    tree: Directory = dict(fields)
    if exif:
        tags = descriptive_tags(exif)
        tree.update(swap_order(tags) if byte_order(exif) == ">" else tags)
    if icc:
        tree[_ICC_PROFILE] = Field(UNDEFINED, icc)
    if dpi:
        tree |= {_X_RESOLUTION: _rational(dpi[0]), _Y_RESOLUTION: _rational(dpi[1]), _RESOLUTION_UNIT: _short(_INCH)}
    if alpha:
        tree[_EXTRA_SAMPLES] = _short(_PLAIN_ALPHA)
    start = len(encoded) + len(encoded) % 2
    return [encoded[:4], struct.pack("<I", start), encoded[8:], bytes(start - len(encoded)), write_tree(tree, start, "<")]


def _short(value: int) -> Field:
    return Field(SHORT, struct.pack("<H", value))


def _rational(value: float) -> Field:
    ratio = Fraction(value).limit_denominator(10_000)
    return Field(RATIONAL, struct.pack("<II", ratio.numerator, ratio.denominator))
