"""Image files in and out, with what the picture carries: EXIF, colour profile, resolution, 16 bits, gray, alpha.

What is kept, by the format of the target:

    format   pixels                                EXIF                                           profile  resolution
    PNG      uint8, uint16; gray, alpha            whole                                          yes      yes
    TIFF     uint8, uint16, float32; gray, alpha   descriptive tags, Exif and GPS directories     yes      yes
    JPEG     uint8; gray                           whole, up to 64 KiB                            yes      whole pixels per inch
    WebP     uint8; alpha                          whole                                          yes      no
    AVIF     uint8; gray, alpha                    what Pillow parses                             yes      no
    BMP      uint8; gray, alpha                    no                                             no       yes
    PPM/PGM  uint8, uint16; gray                   no                                             no       no

XMP is not carried over, nor a thumbnail that would lie on its side. Of several pictures in a file (animations, pages) the first
is read. What is left behind is said in `ImageFile.notices` on reading, and in what `write_image` returns.

A file that is cut off is refused. Damage inside compressed JPEG, WebP or TIFF data that leaves its frame whole is decoded as far
as it goes, as viewers do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from restore_sdk.errors import ImageReadError, ImageWriteError
from restore_sdk.image.atomic import check_target, write_atomically
from restore_sdk.image.exif import normalise_exif, upright_exif
from restore_sdk.image.header import Header, UnreadableError
from restore_sdk.image.icc import profile_fits
from restore_sdk.image.metadata import read_header, sniff
from restore_sdk.image.reading import decode
from restore_sdk.image.targets import check_quality
from restore_sdk.image.writing import CAPABILITIES, SUFFIXES, Picture, UnwritableError, encode, fit_pixels

DEFAULT_MAX_PIXELS = 500_000_000  # 1.5 GB as RGB of uint8
WRITABLE = frozenset(SUFFIXES)
READABLE = WRITABLE | {".apng", ".pbm", ".gif"}
_MAX_JPEG_EXIF = 65_527  # bytes: one segment less the `Exif` prefix


@dataclass(frozen=True, slots=True, eq=False)
class ImageFile:
    """An image with what its file says about it.

    pixels:   (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA; uint8 0..255, uint16 0..65535 or float32; upright.
    format:   of the file that was read: "PNG", "JPEG", "TIFF", "WEBP", "AVIF", "BMP", "PPM" or "GIF". Writing goes by the suffix.
    exif:     EXIF block from its TIFF header on, orientation 1; None without.
    icc:      colour profile that describes the pixels, or None. Pixels are never converted by it.
    dpi:      pixels per inch along x and y, or None.
    lossless: a WebP file held the pixels without loss; it is then written so again unless a quality is asked for.
    png_colour: PNG chunks of gamma and primaries, kept from PNG to PNG.
    notices:  what was not taken over from the file, in words.
    """

    pixels: NDArray[Any]
    exif: bytes | None = None
    icc: bytes | None = None
    format: str = "PNG"
    dpi: tuple[float, float] | None = None
    lossless: bool = False
    png_colour: bytes = b""
    notices: tuple[str, ...] = ()


def supported_read_suffixes() -> frozenset[str]:
    """Lower-case suffixes, with their dot, of the formats that read_image reads (it goes by the content itself)."""
    return READABLE


def supported_write_suffixes() -> frozenset[str]:
    """Lower-case suffixes, with their dot, that write_image takes."""
    return WRITABLE


def read_image(path: Path | str, *, max_pixels: int | None = DEFAULT_MAX_PIXELS) -> ImageFile:
    """Read one image; the content decides about the format, whatever the suffix. Of several pictures in a file, the first.

    max_pixels: refuse an image of more pixels, going by its header, before anything is decoded; None for no limit.
    Palettes and 1-bit images come as gray, RGB or RGBA, gray with alpha as RGBA, CMYK as RGB. The EXIF orientation is applied.
    Raises ImageReadError.
    """
    path = Path(path)
    data = _load(path)
    try:
        header = read_header(data)
        _check_size(header, max_pixels)
        return _assemble(decode(path, data, header), header)
    except UnreadableError as exc:
        raise ImageReadError(path, str(exc)) from exc


def _load(path: Path) -> bytes:
    if os.path.isdir(path):
        raise ImageReadError(path, "it is a directory; give the name of a file in it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ImageReadError(path, "it is not a regular file; save the image to a file first")
    try:
        with path.open("rb") as file:
            head = file.read(16)
            if not head:
                raise ImageReadError(path, "it is empty (0 bytes); get a whole copy of it")
            if sniff(head) is None:  # spares reading a large file that is no image
                raise ImageReadError(path, f"it is not an image; supported are {', '.join(sorted(READABLE))}")
            file.seek(0)
            return file.read()
    except ImageReadError:  # which is a ValueError, too
        raise
    except FileNotFoundError as exc:
        raise ImageReadError(path, "there is no such file; check the path") from exc
    except PermissionError as exc:
        raise ImageReadError(path, "permission denied; change the permissions of the file") from exc
    except OSError as exc:
        raise ImageReadError(path, f"{exc.strerror or exc}; check the file and the disk") from exc
    except ValueError as exc:  # a null character
        raise ImageReadError(path, f"it is no name of a file ({exc}); check the path") from exc


def _check_size(header: Header, max_pixels: int | None) -> None:
    size = f"{header.width}x{header.height}"
    if header.width < 1 or header.height < 1:
        raise UnreadableError(f"its header says {size} pixels; get a whole copy of it")
    if max_pixels is not None and header.width * header.height > max_pixels:
        raise UnreadableError(
            f"its header says {size} pixels, more than the limit of {max_pixels}; pass a larger max_pixels if you trust it"
        )


def _assemble(pixels: NDArray[Any], header: Header) -> ImageFile:
    notices = list(header.notices)
    if header.pages > 1:
        notices.append(f"only the first of {header.pages} pictures was read")
    icc = header.icc
    if icc is not None and not profile_fits(icc, gray=pixels.ndim == 2):
        icc = None
        notices.append("the colour profile was dropped: it does not describe the decoded pixels")
    dpi = header.dpi[::-1] if header.dpi and header.orientation >= 5 else header.dpi
    return ImageFile(
        pixels=pixels,
        exif=upright_exif(header.exif, *pixels.shape[:2]),
        icc=icc,
        format=header.format,
        dpi=dpi,
        lossless=header.lossless,
        png_colour=header.colour,
        notices=tuple(notices),
    )


def write_image(path: Path | str, image: ImageFile, *, overwrite: bool = True, quality: int | None = None) -> tuple[str, ...]:
    """Write one image in the format of the suffix; whole or not at all. Returns what the format could not keep, in words.

    quality: 1..100 for JPEG, AVIF (both with chroma at full resolution) and WebP, 95 by default. The other formats are lossless.
    A read image with new pixels, `dataclasses.replace(image, pixels=new)`, keeps its metadata. Opaque alpha is dropped where the
    format has none; real transparency, and a dtype that it cannot hold, are refused. Raises ImageWriteError, OptionsError.
    """
    path = Path(path)
    check_quality(quality)
    suffix = path.suffix.lower()
    check_target(path, overwrite=overwrite)
    if suffix not in SUFFIXES:
        raise ImageWriteError(path, f"unknown suffix {suffix!r}; use one of {', '.join(sorted(SUFFIXES))}")
    try:
        picture, notices = _prepare(image, suffix, quality)
        parts = encode(picture, SUFFIXES[suffix])
    except UnwritableError as exc:
        raise ImageWriteError(path, str(exc)) from exc
    write_atomically(path, parts, overwrite=overwrite)
    return notices


def _prepare(image: ImageFile, suffix: str, quality: int | None) -> tuple[Picture, tuple[str, ...]]:
    name = SUFFIXES[suffix]
    pixels, can, lost = fit_pixels(image.pixels, name, suffix), CAPABILITIES[name], []
    exif, icc, dpi = normalise_exif(image.exif), image.icc, image.dpi
    if image.exif and (exif is None or not can.exif or (name == "JPEG" and len(exif) > _MAX_JPEG_EXIF)):
        lost.append(f"EXIF is not kept: {'it is damaged' if exif is None else can.name + ' cannot hold it'}")
        exif = None
    gray = pixels.ndim == 2 and name != "WEBP"  # which has no gray
    if icc and not (can.icc and profile_fits(icc, gray=gray)):
        reason = f"it is not for {'gray' if gray else 'RGB'} pixels" if can.icc else f"{can.name} cannot hold it"
        lost.append(f"the colour profile is not kept: {reason}")
        icc = None
    if dpi and not can.dpi:
        lost.append(f"the resolution is not kept: {can.name} cannot hold it")
    picture = Picture(
        pixels=pixels,
        exif=upright_exif(exif, *pixels.shape[:2]),
        icc=icc,
        dpi=dpi,
        colour=image.png_colour,
        lossless=image.lossless,
        quality=quality,
    )
    return picture, tuple(lost)
