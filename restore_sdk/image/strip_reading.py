"""PNG files from top to bottom, a strip of rows at a time: zlib unpacks them, OpenCV undoes the filters.

The filters of a row look at the row above and nowhere else, so a strip of filtered rows below one plain row is a PNG file of its
own. Source: PNG Specification, Third Edition (W3C), sections 5.3 (chunks), 9 (filters) and 10 (one zlib stream in IDAT).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import ImageReadError
from restore_sdk.image.big_facts import FORMATS_THAT_WORK, BigFacts, BigMetadata
from restore_sdk.image.exif import normalise_exif, orientation_of
from restore_sdk.image.png_chunks import SIGNATURE, PngDamagedError, make_chunk, unpack_dpi, unpack_profile
from restore_sdk.image.quiet import quiet_opencv

_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type
_STRIP_BYTES = 4 << 20
_READ = 1 << 18  # bytes of compressed data at a time
_LARGEST_ANCILLARY = 64 << 20
_CHANGE = f"convert it to one of: {FORMATS_THAT_WORK}"


class PngSource:
    """Regions of a PNG file whose rows are asked for from top to bottom; going back begins anew. Not thread-safe.

    In memory are the rows that were asked for last, over the whole width.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)
        try:
            self._kind, self.facts = self._read_header()
        except BaseException:
            self._file.close()
            raise
        self._data_at = self._file.tell()
        self._rows_at_once = max(1, _STRIP_BYTES // self._row_bytes)
        self._rewind()

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """See BigSource.read."""
        if rows.start < self._top:
            self._rewind()
        while self._bottom < rows.stop:
            strip = self._next_strip(min(self._rows_at_once, self.facts.height - self._bottom))
            self._window.append(strip)
            self._bottom += len(strip)
            self._forget(rows.start)
        self._forget(rows.start)
        parts, top = [], self._top
        for strip in self._window:
            parts.append(strip[max(0, rows.start - top) : max(0, rows.stop - top), columns])
            top += len(strip)
        return np.concatenate(parts)

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    @property
    def _row_bytes(self) -> int:
        return self.facts.width * _SAMPLES[self._kind] * self.facts.dtype.itemsize

    def _forget(self, top: int) -> None:
        """Drop the strips above row `top`."""
        while self._window and self._top + len(self._window[0]) <= top:
            self._top += len(self._window.pop(0))

    def _rewind(self) -> None:
        self._file.seek(self._data_at)
        self._above = bytes(self._row_bytes)
        self._data = self._compressed()
        self._unpacking, self._packed = zlib.decompressobj(), b""
        self._window: list[NDArray[Any]] = []
        self._top = self._bottom = 0

    def _next_strip(self, rows: int) -> NDArray[Any]:
        filtered = self._unpacked(rows * (1 + self._row_bytes))
        itself = b"\0" + self._above + filtered
        header = struct.pack(">IIBBBBB", self.facts.width, rows + 1, 8 * self.facts.dtype.itemsize, self._kind, 0, 0, 0)
        chunks = (make_chunk(b"IHDR", header), make_chunk(b"IDAT", zlib.compress(itself, 0)), make_chunk(b"IEND", b""))
        with quiet_opencv():
            decoded = cv2.imdecode(np.frombuffer(SIGNATURE + b"".join(chunks), np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.shape[0] != rows + 1:
            raise ImageReadError(self._path, f"its rows from {self._bottom} on are damaged; get a whole copy of it")
        pixels: NDArray[Any] = decoded[1:]
        if pixels.ndim == 3:
            pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
        last = pixels[-1] if self._kind != 4 else pixels[-1][:, [0, 3]]
        self._above = last.astype(last.dtype.newbyteorder(">")).tobytes()
        return pixels

    def _unpacked(self, count: int) -> bytes:
        parts: list[bytes] = []
        missing = count
        while missing:
            if not self._packed:
                self._packed = next(self._data, b"")
                if not self._packed:
                    raise ImageReadError(self._path, f"it is truncated after row {self._bottom}; get a whole copy of it")
            try:
                part = self._unpacking.decompress(self._packed, missing)
            except zlib.error as exc:
                raise ImageReadError(
                    self._path, f"it is damaged after row {self._bottom} ({exc}); get a whole copy of it"
                ) from exc
            self._packed = self._unpacking.unconsumed_tail
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _compressed(self) -> Iterator[bytes]:
        """The contents of the IDAT chunks, from the file's position on."""
        while (head := self._file.read(8)) and len(head) == 8:
            length, name = struct.unpack(">I4s", head)
            if name != b"IDAT":
                return
            checksum = zlib.crc32(name)
            while length:
                data = self._file.read(min(length, _READ))
                if not data:
                    return
                length, checksum = length - len(data), zlib.crc32(data, checksum)
                yield data
            if self._file.read(4) != struct.pack(">I", checksum):
                raise ImageReadError(self._path, f"it is damaged after row {self._bottom}; get a whole copy of it")

    def _read_header(self) -> tuple[int, BigFacts]:
        """Colour type and facts; the file is then at its first IDAT chunk."""
        found: dict[bytes, bytes] = {}
        try:
            while (chunk := self._ancillary()) is not None:
                found.setdefault(*chunk)
            width, height, depth, kind, interlaced = struct.unpack(">IIBBxxB", found[b"IHDR"])
            exif = normalise_exif(found.get(b"eXIf"))
            icc = unpack_profile(found[b"iCCP"]) if b"iCCP" in found else None
            dpi = unpack_dpi(found[b"pHYs"]) if b"pHYs" in found else None
        except (KeyError, struct.error, ValueError, zlib.error, PngDamagedError) as exc:
            raise ImageReadError(self._path, f"its PNG header is damaged ({exc}); get a whole copy of it") from exc
        unfit = self._unfit(depth, kind, interlaced, found)
        if unfit or not width or not height:
            raise ImageReadError(self._path, f"a PNG of {width}x{height} pixels {unfit} is not read in strips; {_CHANGE}")
        facts = BigFacts(
            format="PNG",
            height=height,
            width=width,
            channels={1: 0, 2: 4}.get(_SAMPLES[kind], _SAMPLES[kind]),
            dtype=np.dtype(np.uint16 if depth == 16 else np.uint8),
            tile=(1, width),
            tiled=False,
            metadata=BigMetadata(icc=icc, dpi=dpi, orientation=orientation_of(exif)),
            notices=("the EXIF data is not kept",) if exif else (),
        )
        return kind, facts

    @staticmethod
    def _unfit(depth: int, kind: int, interlaced: int, found: dict[bytes, bytes]) -> str:
        """What is against reading it in strips; empty if nothing is."""
        if interlaced:
            return "that is interlaced"
        if kind not in _SAMPLES:
            return "with a palette"
        if depth < 8:
            return f"with {depth} bits per sample"
        return "with one transparent colour" if b"tRNS" in found else ""

    def _ancillary(self) -> tuple[bytes, bytes] | None:
        """The next chunk; None at the first IDAT, which stays unread."""
        head = self._file.read(8)
        length, name = struct.unpack(">I4s", head)
        if name == b"IDAT":
            self._file.seek(-8, 1)
            return None
        if length > _LARGEST_ANCILLARY:
            raise ValueError(f"{name!r} of {length} bytes")
        content = self._file.read(length)
        if len(content) != length or self._file.read(4) != struct.pack(">I", zlib.crc32(name + content)):
            raise ValueError(f"{name!r} is cut off or damaged")
        return name, content


def _opened(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except OSError as exc:
        raise ImageReadError(path, f"{exc.strerror or exc}; check the path and the permissions") from exc
    if file.read(8) != SIGNATURE:
        file.close()
        raise ImageReadError(path, "it is no PNG file; check the path")
    return file
