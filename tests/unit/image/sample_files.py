"""Small image files made by hand or by another library than the one under test."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def icc_for(space: bytes) -> bytes:
    """A profile whose header names another colour space."""
    return SRGB[:16] + space + SRGB[20:]


def noise(*shape: int, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(0.5, 1, shape).astype(np.float32)  # leaves [0, 1] on purpose
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def pillow_bytes(pixels: NDArray[Any] | Image.Image, name: str, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if name == "JPEG" and "exif" in options:
        options["exif"] = b"Exif\0\0" + options["exif"]
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, depth: int, kind: int, rows: bytes, *before: bytes, after: bytes = b"") -> bytes:
    """A PNG of given bit depth and colour type; `rows` are unfiltered, each led by a 0."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + body + after + png_chunk(b"IEND", b"")


def tiff(
    pixels: NDArray[Any], *, photometric: int = 2, order: str = "<", planar: bool = False, big: bool = False, **tags: int
) -> bytes:
    """An uncompressed TIFF, or BigTIFF, written by hand. Further tags as t<number>=SHORT value."""
    first, inside, word, counter = (16, 8, "Q", "Q") if big else (8, 4, "I", "H")  # where the pixels are; bytes in a tag
    height, width = pixels.shape[:2]
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    planes = [pixels[..., i] for i in range(samples)] if planar else [pixels]
    data = [plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
    starts = [first + sum(map(len, data[:i])) for i in range(len(data))]
    fields: dict[int, tuple[int, list[int]]] = {
        256: (3, [width]),
        257: (3, [height]),
        258: (3, [pixels.dtype.itemsize * 8] * samples),
        259: (3, [1]),
        262: (3, [photometric]),
        273: (16 if big else 4, starts),
        277: (3, [samples]),
        278: (3, [height]),
        279: (4, [len(part) for part in data]),
        284: (3, [2 if planar else 1]),
        339: (3, [{"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]] * samples),
    }
    fields |= {int(name[1:]): (3, [value]) for name, value in tags.items()}
    body = b"".join(data)
    body += bytes(len(body) % 2)
    at, entries, values = first + len(body), b"", b""
    behind = at + struct.calcsize(f"={counter}") + (4 + 2 * inside) * len(fields) + inside  # the directory
    for tag in sorted(fields):
        kind, numbers = fields[tag]
        raw = b"".join(struct.pack(order + {3: "H", 4: "I", 16: "Q"}[kind], number) for number in numbers)
        place = raw.ljust(inside, b"\0")
        if len(raw) > inside:
            place = struct.pack(order + word, behind + len(values))
            values += raw + bytes(len(raw) % 2)
        entries += struct.pack(f"{order}HH{word}", tag, kind, len(numbers)) + place
    kind_of_file = struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
    start = {"<": b"II", ">": b"MM"}[order] + kind_of_file + struct.pack(order + word, at)
    return start + body + struct.pack(order + counter, len(fields)) + entries + bytes(inside) + values


def exif(orientation: int | None = None, order: str = "<", **extra: Any) -> bytes:
    """An EXIF block with a camera maker, an exposure time, a GPS latitude, and a thumbnail if extra has `thumbnail=True`."""
    block = Image.Exif()
    block.endian = order
    block[271] = "Maker"
    if orientation:
        block[274] = orientation
    block.get_ifd(34665)[33434] = 0.01
    block.get_ifd(34665)[40962] = 1
    block.get_ifd(34665)[40963] = 2
    block.get_ifd(34853)[1] = "N"
    raw = block.tobytes().removeprefix(b"Exif\0\0")
    return with_thumbnail(raw) if extra.get("thumbnail") else raw


def with_thumbnail(raw: bytes) -> bytes:
    """The block (little-endian) with a second directory, as cameras put their thumbnail."""
    block = bytearray(raw + bytes(len(raw) % 2))
    count = struct.unpack_from("<H", block, 8)[0]
    struct.pack_into("<I", block, 8 + 2 + 12 * count, len(block))
    return bytes(block) + struct.pack("<HHHIII", 1, 274, 3, 1, 6, 0)
