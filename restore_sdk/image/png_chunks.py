"""PNG chunks: checked before decoding, and inserted after encoding, so that metadata goes with 16-bit pixels too.

Source: Portable Network Graphics, third edition (W3C, 2025), sections 5 and 11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_CHUNKS = (b"cHRM", b"gAMA", b"sRGB", b"cICP")
_MAX_PROFILE = 64 << 20  # bytes, unpacked


class PngDamagedError(ValueError):
    """A chunk that is cut off or whose checksum is wrong."""


def read_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Name and content of each chunk up to IEND. PngDamagedError: cut off, or a wrong checksum in a critical chunk."""
    view, position = memoryview(data), len(SIGNATURE)
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        checksum = struct.unpack_from(">I", data, end)[0]
        if name[:1].isupper() and zlib.crc32(view[position + 4 : end]) != checksum:
            raise PngDamagedError(f"wrong checksum in chunk {name.decode('latin-1')}; the file is damaged")
        yield name, view[position + 8 : end]
        if name == b"IEND":
            return
        position = end + 4
    raise PngDamagedError("the file is truncated")


def make_chunk(name: bytes, content: bytes) -> bytes:
    """A PNG chunk: length, name, content, CRC (ISO/IEC 15948, section 5.3)."""
    return struct.pack(">I4s", len(content), name) + content + struct.pack(">I", zlib.crc32(name + content))


def unpack_profile(content: bytes) -> bytes | None:
    """The ICC profile in an iCCP chunk; None for a damaged or overlarge one."""
    _, _, packed = content.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if unpacker.eof and profile else None


def pack_profile(icc: bytes) -> bytes:
    """Content of an iCCP chunk."""
    return b"ICC Profile\0\0" + zlib.compress(icc)


def unpack_text_exif(content: bytes) -> bytes | None:
    """The EXIF block that ImageMagick keeps as hexadecimal text in a zTXt or tEXt chunk `Raw profile type exif` (or APP1)."""
    name, _, rest = content.partition(b"\0")
    if name not in {b"Raw profile type exif", b"Raw profile type APP1"}:
        return None
    try:
        text = zlib.decompressobj().decompress(rest[1:], _MAX_PROFILE) if rest[:1] == b"\0" else rest
        return bytes.fromhex("".join(text.decode("latin-1").split()[2:])) or None
    except (zlib.error, ValueError):
        return None


def unpack_dpi(content: bytes) -> tuple[float, float] | None:
    """Resolution (x, y) in pixels per inch from a pHYs chunk; None where it gives only an aspect ratio."""
    if len(content) != 9 or content[8] != 1:
        return None
    x, y = struct.unpack_from(">II", content)
    return (x * 0.0254, y * 0.0254) if x and y else None


def pack_dpi(dpi: tuple[float, float]) -> bytes:
    """Content of a pHYs chunk."""
    return struct.pack(">IIB", round(dpi[0] / 0.0254), round(dpi[1] / 0.0254), 1)
