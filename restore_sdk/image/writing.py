"""Pixels and metadata turned into the bytes of a file, format by format.

OpenCV encodes PNG, TIFF, BMP and PNM, and the metadata is put in beside; Pillow encodes JPEG, WebP and AVIF with theirs.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_sdk.image.atomic import Buffer
from restore_sdk.image.metadata import damage
from restore_sdk.image.png_chunks import make_chunk, pack_dpi, pack_profile
from restore_sdk.image.quiet import quiet_opencv, quiet_pillow
from restore_sdk.image.tiff_page import add_tags
from restore_sdk.image.tiff_tags import ORIENTATION

DEFAULT_QUALITY = 95  # of 100; JPEG and AVIF with chroma at full resolution (4:4:4), which lossy WebP has no place for
_PNG_LEVEL = 1  # on photographs level 6 saves 2 % more and takes 3 times as long
_LARGEST_SIDE = {"JPEG": 65_535, "WEBP": 16_383, "AVIF": 65_536}  # pixels


class UnwritableError(ValueError):
    """A reason why the format cannot hold the image, with its remedy; becomes an ImageWriteError with the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What a format can hold."""

    name: str
    dtypes: tuple[str, ...] = ("uint8",)
    alpha: bool = True
    exif: bool = True
    icc: bool = True
    dpi: bool = True


CAPABILITIES = {
    "PNG": Capability(name="PNG", dtypes=("uint8", "uint16")),
    "TIFF": Capability(name="TIFF", dtypes=("uint8", "uint16", "float32")),
    "JPEG": Capability(name="JPEG", alpha=False),
    "WEBP": Capability(name="WebP", dpi=False),
    "AVIF": Capability(name="AVIF", dpi=False),
    "BMP": Capability(name="BMP", exif=False, icc=False),
    "PPM": Capability(name="PPM", dtypes=("uint8", "uint16"), alpha=False, exif=False, icc=False, dpi=False),
}

SUFFIXES = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".dib": "BMP",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pnm": "PPM",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What goes into the file: pixels already fit for the format, and the metadata that it can hold."""

    pixels: NDArray[Any]
    exif: bytes | None
    icc: bytes | None
    dpi: tuple[float, float] | None
    colour: bytes
    lossless: bool
    quality: int | None


def fit_pixels(pixels: NDArray[Any], name: str, suffix: str) -> NDArray[Any]:
    """Contiguous HxW, HxWx3 or HxWx4 pixels that the format can hold without loss. Raises UnwritableError."""
    capability = CAPABILITIES[name]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in {2, 3} or (pixels.ndim == 3 and pixels.shape[2] not in {3, 4}) or not pixels.size:
        raise UnwritableError(f"pixels have shape {pixels.shape}, expected HxW, HxWx3 or HxWx4; add, drop or slice axes")
    if pixels.dtype.name not in capability.dtypes:
        raise UnwritableError(_dtype_reason(pixels.dtype.name, capability))
    if max(pixels.shape[:2]) > _LARGEST_SIDE.get(name, 1 << 30):
        raise UnwritableError(f"{capability.name} holds at most {_LARGEST_SIDE[name]} pixels a side; write PNG or TIFF")
    if pixels.ndim == 3 and pixels.shape[2] == 4 and not capability.alpha:
        pixels = _without_opaque_alpha(pixels, capability)
    return np.ascontiguousarray(_fit_pnm(pixels, suffix))


def _dtype_reason(dtype: str, capability: Capability) -> str:
    fitting = [other.name for other in CAPABILITIES.values() if dtype in other.dtypes and other.alpha]
    remedy = f"write {' or '.join(fitting)}" if fitting else "convert it to uint8, uint16 or float32"
    return f"{capability.name} cannot hold {dtype} pixels, only {' and '.join(capability.dtypes)}; {remedy}"


def _without_opaque_alpha(pixels: NDArray[Any], capability: Capability) -> NDArray[Any]:
    if int(pixels[..., 3].min()) < np.iinfo(pixels.dtype).max:
        raise UnwritableError(f"{capability.name} cannot hold transparency; write PNG or TIFF, or drop the alpha channel")
    return pixels[..., :3]


def _fit_pnm(pixels: NDArray[Any], suffix: str) -> NDArray[Any]:
    if suffix == ".pgm" and pixels.ndim == 3:
        raise UnwritableError("PGM cannot hold colour; write PPM")
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if suffix == ".ppm" and pixels.ndim == 2 else pixels


def encode(picture: Picture, name: str) -> list[Buffer]:
    """The bytes of the file, in pieces to be written one after another. Raises UnwritableError."""
    try:
        return _ENCODERS[name](picture)
    except cv2.error as exc:
        raise UnwritableError(f"OpenCV cannot encode it ({exc.err or exc.msg}); write PNG") from exc


def _encode_opencv(suffix: str, pixels: NDArray[Any], options: Sequence[int] = ()) -> memoryview:
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    with quiet_opencv():
        done, encoded = cv2.imencode(suffix, pixels, options)
    if not done:
        raise UnwritableError(f"OpenCV cannot encode {pixels.shape} {pixels.dtype} pixels as {suffix}; write PNG")
    return encoded.reshape(-1).data


def _encode_png(picture: Picture) -> list[Buffer]:
    encoded = _encode_opencv(".png", picture.pixels, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    chunks = [picture.colour]
    if picture.icc:
        chunks.append(make_chunk(b"iCCP", pack_profile(picture.icc)))
    if picture.dpi:
        chunks.append(make_chunk(b"pHYs", pack_dpi(picture.dpi)))
    if picture.exif:
        chunks.append(make_chunk(b"eXIf", picture.exif))
    return [encoded[:33], *chunks, encoded[33:]]  # 33 bytes: signature and IHDR, which must come first


def _encode_tiff(picture: Picture) -> list[Buffer]:
    encoded = _encode_opencv(".tiff", picture.pixels)
    if bytes(encoded[:4]) != b"II*\0":
        raise UnwritableError("it would be larger than the 4 GiB of a TIFF file; write smaller pieces")
    alpha = picture.pixels.ndim == 3 and picture.pixels.shape[2] == 4
    return add_tags(encoded, exif=picture.exif, icc=picture.icc, dpi=picture.dpi, alpha=alpha)


def _encode_bmp(picture: Picture) -> list[Buffer]:
    encoded = _encode_opencv(".bmp", picture.pixels)
    if picture.dpi:
        struct.pack_into("<II", encoded, 38, *(round(value / 0.0254) for value in picture.dpi))  # pixels per metre
    return [encoded]


def _encode_pnm(picture: Picture) -> list[Buffer]:
    return [_encode_opencv(".pgm" if picture.pixels.ndim == 2 else ".ppm", picture.pixels)]


def _encode_pillow(name: str, picture: Picture, **options: object) -> list[Buffer]:
    from PIL import Image  # noqa: PLC0415 - loaded only by those who write these formats

    carried: dict[str, object] = {"icc_profile": picture.icc, "quality": picture.quality or DEFAULT_QUALITY}
    file = io.BytesIO()
    try:
        Image.fromarray(picture.pixels).save(file, name, **{k: v for k, v in (carried | options).items() if v is not None})
    except damage() as exc:
        raise UnwritableError(f"Pillow cannot encode it as {name} ({exc}); write PNG") from exc
    return [file.getbuffer()]


def _encode_jpeg(picture: Picture) -> list[Buffer]:
    exif = b"Exif\0\0" + picture.exif if picture.exif else None
    dpi = tuple(round(value) for value in picture.dpi) if picture.dpi else None
    return _encode_pillow("JPEG", picture, subsampling=0, dpi=dpi, exif=exif)


def _encode_webp(picture: Picture) -> list[Buffer]:
    lossless = picture.lossless and picture.quality is None
    quality = 75 if lossless else picture.quality or DEFAULT_QUALITY  # effort, not quality, where nothing is lost
    return _encode_pillow("WEBP", picture, lossless=lossless, exact=True, quality=quality, exif=picture.exif)


def _encode_avif(picture: Picture) -> list[Buffer]:
    exif = _repack_exif(picture.exif) if picture.exif else None
    return _encode_pillow("AVIF", picture, subsampling="4:0:0" if picture.pixels.ndim == 2 else "4:4:4", exif=exif)


def _repack_exif(exif: bytes) -> bytes:
    """EXIF less what Pillow cannot parse, and less the orientation, which AVIF has a place of its own for.

    Pillow's AVIF plugin does the same, but with a warning for each oddity, while here the filters are held for a moment only.
    """
    from PIL import Image  # noqa: PLC0415 - loaded only by those who write this format

    with quiet_pillow():
        block = Image.Exif()
        block.load(exif)
        block.pop(ORIENTATION, None)
        return block.tobytes()


_ENCODERS: dict[str, Callable[[Picture], list[Buffer]]] = {
    "PNG": _encode_png,
    "TIFF": _encode_tiff,
    "JPEG": _encode_jpeg,
    "WEBP": _encode_webp,
    "AVIF": _encode_avif,
    "BMP": _encode_bmp,
    "PPM": _encode_pnm,
}
