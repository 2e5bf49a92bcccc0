"""How many pixels a file claims to have, by a look at its header, and whether it can have them; the file is mapped, not read."""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from restore_sdk.errors import ImageReadError
from restore_sdk.image.metadata import sniff
from restore_sdk.image.tiff_tags import byte_order, first_offset, is_big, read_fields
from restore_sdk.spec import LARGEST_SIDE

DEFLATE_EXPANDS = 1032  # bytes from one, at most: 258 bytes from two bits, and tables. Source: zlib's technical details
_WIDTH, _HEIGHT = 256, 257
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_NO_FRAME = {0xC4, 0xC8, 0xCC}  # tables among the markers C0 to CF that begin a frame
_HUFFMAN = {0xC0, 0xC1, 0xC2}  # frames of blocks whose first coefficient takes at least one bit
_JPEG_PIXELS = 2048  # of one byte, at most: 8 blocks of 64 pixels, of a component that is stored at a fourth


@dataclass(frozen=True, slots=True)
class Claim:
    """What a header says. format: by the first bytes; 0 pixels where nothing cheap tells; big: a BigTIFF.

    least_bytes: no file of so many pixels is smaller; 0 where that is not sure.
    """

    format: str | None
    width: int = 0
    height: int = 0
    big: bool = False
    least_bytes: int = 0

    @property
    def pixels(self) -> int:
        return self.width * self.height


def claim_of(path: Path) -> Claim:
    """What the file at `path` claims. Raises OSError, ValueError and struct.error for what is no whole header, ImageReadError for
    what is neither file nor folder: opening a pipe would wait for whoever writes into it."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise ImageReadError(path, "it is not a regular file; save the image to a file first")
    with path.open("rb") as file:
        head = file.read(32)
        name = sniff(head[:16])
        if name == "PNG":
            width, height, depth, kind = struct.unpack_from(">IIBB", head, 16)
            bits = width * height * depth * _PNG_SAMPLES.get(kind, 0)
            return Claim(name, width, height, least_bytes=bits // 8 // DEFLATE_EXPANDS)
        if name not in {"TIFF", "JPEG"}:
            return Claim(name)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            return _tiff_claim(view) if name == "TIFF" else _jpeg_claim(view)


def check_claim(path: Path, claim: Claim) -> None:
    """Raise ImageReadError for more pixels than any file here may have, or than this one can hold."""
    check_sides(path, claim.height, claim.width)
    size = os.path.getsize(path)
    if size < claim.least_bytes:
        pixels = f"{claim.width}x{claim.height} pixels"
        reason = f"its header claims {pixels}, which take {claim.least_bytes} bytes or more, and it has {size}"
        raise ImageReadError(path, f"{reason}: it is truncated or damaged; get a whole copy of it")


def check_sides(path: Path, height: int, width: int) -> None:
    """Raise ImageReadError for a side beyond LARGEST_SIDE."""
    if max(height, width) > LARGEST_SIDE:
        reason = f"its header claims {width}x{height} pixels, and the limit is {LARGEST_SIDE} a side"
        raise ImageReadError(path, f"{reason}; cut it into pieces, or get a whole copy if it is not as large as that")


def _tiff_claim(view: memoryview) -> Claim:
    fields, _ = read_fields(view, first_offset(view))
    width, height = (fields[tag].integers(byte_order(view)) if tag in fields else () for tag in (_WIDTH, _HEIGHT))
    return Claim("TIFF", *((width[0], height[0]) if width and height else (0, 0)), big=is_big(view))


def _jpeg_claim(view: memoryview) -> Claim:
    """By the first frame's header. Source: ITU-T T.81, annex B."""
    position = 2
    while position + 9 <= len(view) and view[position] == 0xFF:
        marker, length = struct.unpack_from(">BH", view, position + 1)
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", view, position + 5)
            return Claim("JPEG", width, height, least_bytes=width * height // _JPEG_PIXELS if marker in _HUFFMAN else 0)
        position += 1 if marker == 0xFF else 2 + length
    return Claim("JPEG")
