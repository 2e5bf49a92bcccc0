"""EXIF blocks as bytes: read the orientation, and change only what restoring an image makes untrue.

A block is edited in place rather than rewritten, because maker notes hold offsets of their own and would not survive a move.
"""

from __future__ import annotations

import struct

from restore_sdk.image.tiff_tags import (
    EXIF_IFD,
    GPS_IFD,
    NESTED,
    ORIENTATION,
    Buffer,
    Directory,
    Field,
    TiffDamagedError,
    byte_order,
    classic_header,
    first_offset,
    is_big,
    patch_integer,
    read_fields,
    read_tree,
    write_tree,
)

_PREFIX = b"Exif\0\0"
_PIXEL_X, _PIXEL_Y = 40962, 40963
# What describes the picture, not its storage: title, camera, software, date, artist, copyright, rating, Windows' own text tags
_DESCRIPTIVE = frozenset({269, 270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, 40091, 40092, 40093, 40094, 40095}) | {
    EXIF_IFD,
    GPS_IFD,
}


def normalise_exif(exif: bytes | None) -> bytes | None:
    """The block without JPEG's `Exif` prefix, starting at its TIFF header; None for an empty or unreadable one."""
    if not exif:
        return None
    block = exif.removeprefix(_PREFIX)
    try:
        read_fields(block, first_offset(block))
    except (TiffDamagedError, struct.error):
        return None
    return None if is_big(block) else block


def orientation_of(exif: bytes | None) -> int:
    """EXIF orientation 1..8; 1 where there is none or it is out of range."""
    if exif is None:
        return 1
    field = read_fields(exif, first_offset(exif))[0].get(ORIENTATION)
    return _orientation(field, byte_order(exif))


def _orientation(field: Field | None, order: str) -> int:
    values = field.integers(order) if field else ()
    return values[0] if values and 1 <= values[0] <= 8 else 1


def upright_exif(exif: bytes | None, height: int, width: int) -> bytes | None:
    """The block for upright pixels of this size: orientation 1, pixel dimensions as they are; all else byte for byte.

    The embedded thumbnail goes when the orientation changes: it would be shown lying on its side.
    """
    if exif is None:
        return None
    block, order = bytearray(exif), byte_order(exif)
    fields, _ = read_fields(exif, first_offset(exif))
    if _orientation(fields.get(ORIENTATION), order) != 1:
        _unlink_thumbnail(block)
    if ORIENTATION in fields:
        patch_integer(block, fields[ORIENTATION], 1)
    _patch_dimensions(block, fields, height, width)
    return bytes(block)


def _unlink_thumbnail(block: bytearray) -> None:
    offset, order = first_offset(block), byte_order(block)
    link = offset + 2 + 12 * int(struct.unpack_from(order + "H", block, offset)[0])
    if link + 4 <= len(block):
        struct.pack_into("I", block, link, 0)


def _patch_dimensions(block: bytearray, fields: dict[int, Field], height: int, width: int) -> None:
    pointer = fields[EXIF_IFD].integers(byte_order(block)) if EXIF_IFD in fields else ()
    if not pointer:
        return
    try:
        details, _ = read_fields(block, pointer[0])
    except TiffDamagedError:
        return
    for tag, value in ((_PIXEL_X, width), (_PIXEL_Y, height)):
        if tag in details:
            patch_integer(block, details[tag], value)


def descriptive_tags(data: Buffer) -> Directory:
    """The tags of a TIFF file or EXIF block that describe the picture rather than its storage, with their nested directories."""
    return {
        tag: value
        for tag, value in read_tree(data, first_offset(data)).items()
        if tag in _DESCRIPTIVE and (tag not in NESTED or value)
    }


def exif_from_tiff(data: Buffer) -> bytes | None:
    """A standalone EXIF block with the descriptive tags of a TIFF file, in the file's byte order; None where it has none."""
    tags = descriptive_tags(data)
    if not tags:
        return None
    return classic_header(data) + write_tree(tags, 8, byte_order(data))
