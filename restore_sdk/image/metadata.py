"""Reads the header of every supported format, without decoding pixels: PNG and TIFF by their tables, the rest by Pillow."""

from __future__ import annotations

import importlib
import io
import re
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from restore_sdk.image.exif import normalise_exif, orientation_of
from restore_sdk.image.header import Header, UnreadableError, notices_of
from restore_sdk.image.png_chunks import (
    COLOUR_CHUNKS,
    PngDamagedError,
    make_chunk,
    read_chunks,
    unpack_dpi,
    unpack_profile,
    unpack_text_exif,
)
from restore_sdk.image.quiet import quiet_pillow
from restore_sdk.image.tiff_header import read_tiff_header
from restore_sdk.image.tiff_tags import Buffer, TiffDamagedError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile as PillowFile

# What Pillow and the parsers here raise on damaged headers
DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, RuntimeError, AssertionError),
    struct.error,
)


def damage() -> tuple[type[Exception], ...]:
    """DAMAGE and Pillow's own refusal of huge frames; to be called in an except clause, where Pillow is loaded already."""
    pillow = sys.modules.get("PIL.Image")
    return DAMAGE if pillow is None else (*DAMAGE, pillow.DecompressionBombError)


def sniff(head: bytes) -> str | None:
    """The format that the first 16 bytes of a file show, whatever its name says; None for an unknown one."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp" and head[8:12] in {b"avif", b"avis", b"mif1", b"miaf"}:
        return "AVIF"
    if re.match(rb"P[1-6]\s", head):
        return "PPM"
    return next((name for start, name in _SIGNATURES.items() if head.startswith(start)), None)


_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    b"GIF8": "GIF",
}


_PNG_KINDS = {3: "P", 4: "LA"}


def read_header(data: bytes) -> Header:
    """Header of a whole image file in memory.

    Raises UnreadableError, with the reason and the remedy, for an unknown, damaged or unsupported file.
    """
    name = sniff(data[:16])
    if name is None:
        raise UnreadableError("it is not an image in a supported format (PNG, JPEG, TIFF, WebP, AVIF, BMP, PPM, PGM, GIF)")
    try:
        return _READERS[name](data)
    except UnreadableError:
        raise
    except (PngDamagedError, TiffDamagedError) as exc:
        raise UnreadableError(f"{name}: {exc}; get a whole copy of it") from exc
    except damage() as exc:
        raise UnreadableError(f"its {name} header is damaged or truncated ({exc}); get a whole copy of it") from exc


def _read_png(data: bytes) -> Header:
    found: dict[bytes, bytes] = {}
    text_exif, xmp = None, False
    for name, content in read_chunks(data):
        if name in _PNG_CHUNKS:
            found.setdefault(name, bytes(content))
        elif name in {b"tEXt", b"zTXt"}:
            text_exif = text_exif or unpack_text_exif(bytes(content))
        xmp = xmp or (name == b"iTXt" and bytes(content[:17]) == b"XML:com.adobe.xmp")
    width, height, depth, kind, interlaced = struct.unpack(">IIBBxxB", found[b"IHDR"])
    exif = normalise_exif(found.get(b"eXIf") or text_exif)
    transparent = struct.unpack(">H", found[b"tRNS"])[0] if kind == 0 and b"tRNS" in found else None
    if transparent is not None and depth < 8:
        transparent = transparent * 255 // ((1 << depth) - 1)  # gray below 8 bits is decoded to the whole range of uint8
    return Header(
        format="PNG",
        width=width,
        height=height,
        channels=4 if b"tRNS" in found and kind else {0: 0, 4: 4, 6: 4}.get(kind, 3),
        dtype="uint16" if depth == 16 else "uint8",
        sequential=not interlaced,
        exif=exif,
        orientation=orientation_of(exif),
        icc=unpack_profile(found[b"iCCP"]) if b"iCCP" in found else None,
        dpi=unpack_dpi(found[b"pHYs"]) if b"pHYs" in found else None,
        pages=max(1, struct.unpack_from(">I", found[b"acTL"])[0]) if b"acTL" in found else 1,
        transparent=transparent,
        colour=b"".join(make_chunk(name, found[name]) for name in COLOUR_CHUNKS if name in found),
        notices=notices_of("1" if depth == 1 and kind == 0 else _PNG_KINDS.get(kind, ""), xmp=xmp),
    )


_PNG_CHUNKS = frozenset({b"IHDR", b"eXIf", b"iCCP", b"pHYs", b"acTL", b"tRNS", *COLOUR_CHUNKS})


_PLUGINS = {
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PPM": ("PIL.PpmImagePlugin", "PpmImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
}


def open_with_pillow(name: str, data: Buffer) -> PillowFile:
    """Pillow's own file object for the format `name`; its class, not Image.open, whose size limits are ours to set."""
    module, plugin = _PLUGINS[name]
    opened: PillowFile = getattr(importlib.import_module(module), plugin)(io.BytesIO(data))
    return opened


def _read_pillow(name: str, data: bytes) -> Header:
    with quiet_pillow(), open_with_pillow(name, data) as image:
        info = image.info
        exif, dpi = normalise_exif(info.get("exif")), info.get("dpi")
        return Header(
            format=name,
            width=image.width,
            height=image.height,
            decoder="pillow" if name == "GIF" or (name == "BMP" and image.mode == "RGBA") else "opencv",
            channels={"L": 0, "RGBA": 4}.get(image.mode, 3),
            exif=exif,
            orientation=orientation_of(exif),
            icc=info.get("icc_profile") or None,
            dpi=(float(dpi[0]), float(dpi[1])) if dpi and dpi[0] > 0 and dpi[1] > 0 else None,
            pages=int(getattr(image, "n_frames", 1)),
            notices=notices_of(image.mode, xmp="xmp" in info),
        )


def _read_jpeg(data: bytes) -> Header:
    start, end = _first_scan(data), data.rfind(b"\xff\xd9")
    if start is None or end < start:  # entropy-coded data cannot hold these two bytes, so they are the end of the image
        raise UnreadableError("the JPEG is truncated; get a whole copy of it")
    return replace(_read_pillow("JPEG", data), sequential=True)


def _first_scan(data: bytes) -> int | None:
    """Position of the first start-of-scan marker; thumbnails inside other segments are stepped over."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = struct.unpack_from(">BH", data, position + 1)
        if marker == 0xDA:
            return position
        position += 1 if marker == 0xFF else 2 + length
    return None


def _read_webp(data: bytes) -> Header:
    return replace(_read_pillow("WEBP", data), lossless=b"VP8L" in (data[12:16], *_riff_names(data)))


def _riff_names(data: bytes) -> list[bytes]:
    names: list[bytes] = []
    position = 12
    while position + 8 <= len(data) and len(names) < 16:
        names.append(data[position : position + 4])
        position += 8 + (int.from_bytes(data[position + 4 : position + 8], "little") + 1) // 2 * 2
    return names


def _read_avif(data: bytes) -> Header:
    header = _read_pillow("AVIF", data)
    at = data.find(b"av1C")
    if at < 0 or not data[at + 6] & 0x40:
        return header
    return replace(header, decoder="pillow", notices=(*header.notices, "samples of 10 or 12 bits were reduced to 8"))


def _read_ppm(data: bytes) -> Header:
    header = _read_pillow("PPM", data)
    if data[:2] in {b"P1", b"P4"}:
        return header
    words = re.sub(rb"#[^\n\r]*", b"", data[:4096]).split(maxsplit=4)
    full_scale = int(words[3])
    if data[:2] in {b"P2", b"P3"} and full_scale < 255:  # OpenCV scales these, unlike all others
        return replace(header, decoder="pillow")
    return replace(header, full_scale=full_scale)


_READERS: dict[str, Callable[[bytes], Header]] = {
    "PNG": _read_png,
    "JPEG": _read_jpeg,
    "TIFF": read_tiff_header,
    "WEBP": _read_webp,
    "AVIF": _read_avif,
    "BMP": partial(_read_pillow, "BMP"),
    "PPM": _read_ppm,
    "GIF": partial(_read_pillow, "GIF"),
}
