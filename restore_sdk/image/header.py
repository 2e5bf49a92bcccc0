"""What a file says about its image before any pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass


class UnreadableError(ValueError):
    """A reason not to decode the file, with its remedy; becomes an ImageReadError with the path."""


XMP_NOTICE = "XMP metadata is not kept"
KIND_NOTICES = {  # by Pillow's name of the kind of pixels
    "1": "1-bit pixels became 8-bit gray",
    "CMYK": "CMYK pixels became RGB",
    "LA": "gray with transparency became RGB with transparency",
    "P": "the palette was resolved: the pixels became full colours",
}


def notices_of(kind: str, *, xmp: bool) -> tuple[str, ...]:
    """What reading pixels of this kind (Pillow's mode) changes, and what of the metadata is left behind."""
    changed = (KIND_NOTICES[kind],) if kind in KIND_NOTICES else ()
    return (*changed, XMP_NOTICE) if xmp else changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """format: "PNG", "JPEG", "TIFF", "WEBP", "AVIF", "BMP", "PPM" or "GIF". width, height: pixels as stored, not upright.

    decoder:      "opencv", or "pillow" for the files that OpenCV would decode to wrong pixels.
    channels, dtype: what the decoder will most likely give (0 for gray); only a hint.
    sequential:   the rows are decoded from first to last.
    exif, icc:    as bytes; EXIF starts at its TIFF header. dpi: pixels per inch (x, y) as stored.
    pages:        pictures in the file; the first is read.
    full_scale:   what stands for white in the samples, where that is not the dtype's largest value (PNM); else None.
    inverted:     white is stored as 0 and the decoder leaves it so.
    transparent:  the gray value that stands for full transparency (PNG), else None.
    colour:       PNG chunks that fix the meaning of the colours (gamma, primaries), verbatim.
    """

    format: str
    width: int
    height: int
    decoder: str = "opencv"
    channels: int = 3
    dtype: str = "uint8"
    sequential: bool = False
    exif: bytes | None = None
    orientation: int = 1
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    pages: int = 1
    full_scale: int | None = None
    inverted: bool = False
    transparent: int | None = None
    lossless: bool = False
    colour: bytes = b""
    notices: tuple[str, ...] = ()
