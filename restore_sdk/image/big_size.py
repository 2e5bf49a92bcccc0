"""How many pixels a file has, by a look at its header; the file is mapped, not read."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from restore_sdk.image.metadata import sniff
from restore_sdk.image.tiff_tags import byte_order, first_offset, read_fields

_BIG = {b"II+\0", b"MM\0+"}
_WIDTH, _HEIGHT = 256, 257
_NO_FRAME = {0xC4, 0xC8, 0xCC}  # tables among the markers C0 to CF that begin a frame


def pixels_of(path: Path) -> tuple[str | None, int, bool]:
    """(format by its first bytes, pixels, whether it is a BigTIFF); 0 pixels where nothing cheap tells.

    Raises OSError, ValueError and struct.error for what is no whole header.
    """
    with path.open("rb") as file:
        head = file.read(32)
        name = sniff(head[:16])
        if name == "PNG":
            width, height = struct.unpack_from(">II", head, 16)
            return name, width * height, False
        if name not in {"TIFF", "JPEG"} or head[:4] in _BIG:
            return name, 0, name == "TIFF"
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            return name, _tiff_pixels(view) if name == "TIFF" else _jpeg_pixels(view), False


def _tiff_pixels(view: memoryview) -> int:
    fields, _ = read_fields(view, first_offset(view))
    width, height = (fields[tag].integers(byte_order(view)) if tag in fields else () for tag in (_WIDTH, _HEIGHT))
    return width[0] * height[0] if width and height else 0


def _jpeg_pixels(view: memoryview) -> int:
    """By the first frame's header. Source: ITU-T T.81, annex B."""
    position = 2
    while position + 9 <= len(view) and view[position] == 0xFF:
        marker, length = struct.unpack_from(">BH", view, position + 1)
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", view, position + 5)
            return int(width * height)
        position += 1 if marker == 0xFF else 2 + length
    return 0
