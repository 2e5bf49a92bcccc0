"""Pixels of an image file: decoded, checked against the header, and brought to RGB, full scale and upright."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_sdk.image.header import Header, UnreadableError
from restore_sdk.image.metadata import damage, open_with_pillow
from restore_sdk.image.quiet import quiet_opencv, quiet_pillow
from restore_sdk.image.tiff_tags import ORIENTATION, Buffer, first_offset, patch_integer, read_fields

Pixels = NDArray[Any]

_BAND_BYTES = 1 << 20
_DTYPES = (np.uint8, np.uint16, np.float32)
_DAMAGED = "its pixels are damaged, truncated or packed in an unsupported way; get a whole copy, or convert it to PNG"


def decode(path: Path, data: bytes, header: Header) -> Pixels:
    """HxW, HxWx3 or HxWx4 pixels, contiguous, in RGB(A) order, upright; uint8, uint16 or float32. Raises UnreadableError.

    data: the bytes of the file at `path`.
    """
    stored_as = _without_orientation(data) if header.format == "TIFF" and header.orientation != 1 else data
    stored = _decode_pillow(stored_as, header) if header.decoder == "pillow" else _decode_opencv(path, stored_as, header)
    if stored.shape[:2] != (header.height, header.width):
        raise UnreadableError(
            f"its header says {header.width}x{header.height} pixels but it holds another size; get a whole copy of it"
        )
    if stored.dtype not in _DTYPES:
        raise UnreadableError(f"{stored.dtype} samples are not supported; convert it to 8 or 16 bits, or 32-bit float")
    return upright(_to_full_scale(stored, header), header.orientation)


def _decode_opencv(path: Path, data: Buffer, header: Header) -> Pixels:
    buffer = np.frombuffer(data, np.uint8)
    try:
        with quiet_opencv():
            pixels = _decode_in_place(path, header) if header.sequential else None
            if pixels is None:
                pixels = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    except cv2.error as exc:
        raise UnreadableError(f"OpenCV cannot decode it ({exc.err or exc.msg}); convert it to PNG") from exc
    if pixels is None:
        raise UnreadableError(_DAMAGED)
    if pixels.ndim == 3:
        swap_red_and_blue(pixels)
    return pixels


def _decode_in_place(path: Path, header: Header) -> Pixels | None:
    """Decode straight into an array of ours, where imdecode would hold the whole image twice. None if that did not work out.

    OpenCV reports no failure this way, but leaves the rest of the rows as they were. A last row of zeros is therefore taken for
    one, and a picture that is black there is decoded again by the caller. Fresh zeros take no memory until they are written.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:  # a name that is no UTF-8 kills OpenCV's process
        return None
    shape = (header.height, header.width, header.channels)[: 3 if header.channels else 2]
    try:
        pixels = np.zeros(shape, header.dtype)
        cv2.imread(str(path), pixels, cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):  # the hint about the kind of pixels was wrong, or there is no room
        return None
    return pixels if pixels[-1].any() else None


def _without_orientation(data: bytes) -> bytearray:
    """OpenCV and Pillow turn TIFF files upright though asked for the pixels as they are; without the tag that is left to us."""
    patched = bytearray(data)
    fields, _ = read_fields(data, first_offset(data))
    patch_integer(patched, fields[ORIENTATION], 1)
    return patched


def _decode_pillow(data: Buffer, header: Header) -> Pixels:
    try:
        with quiet_pillow(), open_with_pillow(header.format, data) as image:
            image.load()
            return np.array(image.convert(_plain_mode(image.mode, transparent=image.has_transparency_data)))
    except damage() as exc:
        raise UnreadableError(_DAMAGED) from exc


def _plain_mode(mode: str, *, transparent: bool) -> str:
    if transparent:
        return "RGBA"
    return "L" if mode in {"1", "L"} else "RGB"


def swap_red_and_blue(pixels: Pixels) -> None:
    """BGR(A) to RGB(A) or back, in place; band by band, so that no second image is held."""
    code = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    rows = max(1, _BAND_BYTES // max(1, pixels[0].nbytes))
    for start in range(0, len(pixels), rows):
        band = pixels[start : start + rows]
        band[...] = cv2.cvtColor(band, code)


def _to_full_scale(pixels: Pixels, header: Header) -> Pixels:
    if header.transparent is not None and pixels.ndim == 2:
        return _with_alpha(pixels, header.transparent)
    if header.inverted and pixels.ndim == 2:
        return np.subtract(np.iinfo(pixels.dtype).max, pixels, out=pixels)
    if header.full_scale is None or pixels.dtype.kind != "u" or header.full_scale == np.iinfo(pixels.dtype).max:
        return pixels
    largest = int(np.iinfo(pixels.dtype).max)
    table = (np.arange(largest + 1, dtype=np.uint64) * largest + header.full_scale // 2) // header.full_scale
    return np.take(np.minimum(table, largest).astype(pixels.dtype), pixels)


def _with_alpha(gray: Pixels, transparent: int) -> Pixels:
    pixels = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGBA)
    pixels[..., 3][gray == transparent] = 0
    return np.asarray(pixels)


def _transverse(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180))


# EXIF 2.32, tag 0x0112: where row 0 and column 0 of the stored pixels lie on the upright picture
_UPRIGHT: dict[int, Callable[[Pixels], Any]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: _transverse,
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """The picture as it is to be seen, for pixels stored under an EXIF orientation 1..8."""
    turn = _UPRIGHT.get(orientation)
    return np.ascontiguousarray(turn(pixels) if turn else pixels)
