"""Regions of a TIFF file of any size: the strips or tiles that a region touches are decoded, and kept for the next one.

In memory are the decoded pieces that the region read last touches, and no others: for tiles that does not depend on the size of
the image, for strips it grows with the width alone. Rows that lie uncompressed one behind the other are read as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import ImageReadError
from restore_sdk.extras import require
from restore_sdk.image.big_damage import damage_told
from restore_sdk.image.big_facts import FORMATS_THAT_WORK, LARGEST_PIECE, MIB, BigFacts
from restore_sdk.image.big_size import DEFLATE_EXPANDS
from restore_sdk.image.big_tiff_tags import metadata_of

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _YCBCR = 0, 1, 2, 6
_JPEGS = {6, 7, 33007, 34892}
_PREMULTIPLIED = 1
_EXPANDS = {1: 1, 5: 2560, 8: DEFLATE_EXPANDS, 32773: 64, 32946: DEFLATE_EXPANDS}  # bytes from one, at most; LZW: of 12-bit codes
_ROWS_AT_ONCE = MIB  # bytes of uncompressed rows that make one piece
_AGAIN = f"get a whole copy of it, or use {FORMATS_THAT_WORK}"
_REMEDY = "save it as gray, RGB or RGBA of 8 or 16 bits or 32-bit float"


class TiffSource:
    """The first picture of a TIFF, BigTIFF or OME-TIFF file. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        tifffile = require("tifffile", "tiff")
        with damage_told(path, "its header is damaged or truncated", _AGAIN):
            self._tiff = tifffile.TiffFile(path)
        try:
            with damage_told(path, "its header is damaged or truncated", _AGAIN):
                self._page = self._tiff.pages.first
                self._raw_at = _raw_rows_at(self._page)
                self.facts = self._read_facts()
        except BaseException:
            self.close()
            raise
        page = self._page
        self._planes = self.facts.channels if page.planarconfig == 2 else 1
        self._samples = max(1, self.facts.channels) // self._planes
        self._grid = -(-self.facts.height // self.facts.tile[0]), -(-self.facts.width // self.facts.tile[1])
        self._kept: dict[int, NDArray[Any]] = {}

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """See BigSource.read."""
        facts, (height, width) = self.facts, self.facts.tile
        region = np.empty((rows.stop - rows.start, columns.stop - columns.start, max(1, facts.channels)), facts.dtype)
        touched = [
            (plane, row, column)
            for plane in range(self._planes)
            for row in range(rows.start // height, -(-rows.stop // height))
            for column in range(columns.start // width, -(-columns.stop // width))
        ]
        indices = [(plane * self._grid[0] + row) * self._grid[1] + column for plane, row, column in touched]
        self._kept = {index: self._kept[index] for index in indices if index in self._kept}
        for index, (plane, row, column) in zip(indices, touched, strict=True):
            if index not in self._kept:
                self._kept[index] = self._decoded(index, row)
            channels = slice(plane, plane + self._samples)
            _paste(region[..., channels], (rows.start, columns.start), self._kept[index], (row * height, column * width))
        if self._page.photometric == _WHITE_IS_ZERO:
            np.subtract(np.iinfo(facts.dtype).max, region, out=region)
        return region if facts.channels else region[..., 0]

    def close(self) -> None:
        """Release the file."""
        self._tiff.close()

    def _decoded(self, index: int, row: int) -> NDArray[Any]:
        """One piece, (h, w, samples)."""
        page, (height, width) = self._page, self.facts.tile
        if self._raw_at is not None:
            return self._raw_rows(row * height, min(height, self.facts.height - row * height))
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if not count:  # a sparse file leaves empty pieces out
            return np.full((height, width, self._samples), page.nodata, self.facts.dtype)
        with damage_told(self._path, f"the piece at byte {offset} is damaged", _AGAIN):
            data = page.decode(self._bytes(offset, count), index, jpegtables=page.jpegtables)[0]
            piece: NDArray[Any] = np.asarray(data, self.facts.dtype)[0]
        return piece

    def _raw_rows(self, top: int, rows: int) -> NDArray[Any]:
        stored = self._page.dtype.newbyteorder(self._tiff.byteorder)
        length = self.facts.width * self._samples * stored.itemsize
        data = self._bytes(self._raw_at + top * length, rows * length)
        pixels = np.frombuffer(data, stored).reshape(rows, self.facts.width, self._samples)
        return pixels.astype(self.facts.dtype, copy=False)

    def _bytes(self, offset: int, count: int) -> bytes:
        file = self._tiff.filehandle
        try:
            file.seek(offset)
            data: bytes = file.read(count)
        except OSError as exc:
            raise ImageReadError(self._path, f"{exc.strerror or exc}; check the file and the disk") from exc
        if len(data) != count:
            raise ImageReadError(self._path, f"it ends {count - len(data)} bytes too early; get a whole copy of it")
        return data

    def _read_facts(self) -> BigFacts:
        page = self._page
        channels, dtype = self._checked_kind()
        metadata, lost = metadata_of(self._tiff, page)
        height, width = page.imagelength, page.imagewidth
        tile = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, height), width)
        piece_row = tile[1] * max(1, channels) * dtype.itemsize
        if self._raw_at is not None:
            tile = max(1, min(height, _ROWS_AT_ONCE // piece_row)), width
        elif tile[0] * piece_row > LARGEST_PIECE:
            self._refuse(
                f"it is compressed in pieces of {tile[1]}x{tile[0]} pixels, which do not fit the memory bound of "
                f"{LARGEST_PIECE // MIB} MiB; save it in tiles"
            )
        self._check_extents(dtype.itemsize)
        return BigFacts(
            format="TIFF",
            height=height,
            width=width,
            channels=channels,
            dtype=dtype,
            tile=tile,
            tiled=page.is_tiled,
            big=self._tiff.is_bigtiff,
            compression=int(page.compression),
            predictor=int(page.predictor),
            metadata=metadata,
            notices=(*lost, *self._left_out()),
        )

    def _checked_kind(self) -> tuple[int, np.dtype[Any]]:
        """Channels and dtype. Raises ImageReadError for what is no gray, RGB or RGBA picture."""
        page, dtype = self._page, self._page.dtype
        photometric, samples = page.photometric, page.samplesperpixel
        if dtype is None or f"{dtype.kind}{dtype.itemsize}" not in {"u1", "u2", "f2", "f4"}:
            self._refuse(f"its samples are {dtype or f'of {page.bitspersample} bits'}; {_REMEDY}")
        if page.bitspersample != dtype.itemsize * 8:
            self._refuse(f"its samples have {page.bitspersample} bits; {_REMEDY}")
        gray = photometric in {_WHITE_IS_ZERO, _BLACK_IS_ZERO} and samples == 1
        colour = samples in {3, 4} and (photometric == _RGB or (photometric == _YCBCR and page.compression in _JPEGS))
        if not (gray or colour) or page.imagedepth != 1 or (photometric == _WHITE_IS_ZERO and dtype.kind == "f"):
            name = getattr(photometric, "name", photometric)
            self._refuse(f"its pixels are {name} with {samples} samples; {_REMEDY}")
        if samples == 4 and _PREMULTIPLIED in page.extrasamples:
            self._refuse("its colours are multiplied by their alpha; save it with plain alpha")
        return (0 if gray else samples), dtype.newbyteorder("=")

    def _check_extents(self, sample_bytes: int) -> None:
        """All pieces lie in the file, and those that are not empty can hold the image."""
        page = self._page
        offsets, counts = (np.array(values, np.int64) for values in (page.dataoffsets, page.databytecounts))
        height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        planes = page.samplesperpixel if page.planarconfig == 2 else 1
        pieces = planes * -(-page.imagelength // height) * -(-page.imagewidth // width)
        if not 0 < pieces <= len(offsets) == len(counts):
            self._refuse("the positions of its pixels are missing; get a whole copy of it")
        missing = int((offsets + counts).max()) - os.path.getsize(self._path)
        if missing > 0:
            self._refuse(f"it is truncated: {missing} bytes are missing; get a whole copy of it")
        empty = int(np.count_nonzero(counts == 0)) * height * width // planes  # pixels
        wanted = (page.imagelength * page.imagewidth - empty) * page.samplesperpixel * sample_bytes
        held = int(counts.sum()) * _EXPANDS.get(int(page.compression), wanted)
        if held < wanted:
            self._refuse(f"its pixels take {wanted} bytes, and its pieces hold {held} at most; get a whole copy of it")

    def _left_out(self) -> Iterator[str]:
        pages = len(self._tiff.pages)
        if pages > 1:
            yield f"only the first of {pages} pictures was read"
        if self._page.subifds:
            yield "the smaller copies of the picture (its pyramid) are not kept"

    def _refuse(self, reason: str) -> None:
        raise ImageReadError(self._path, reason)


def _raw_rows_at(page: Any) -> int | None:
    """Where the rows begin that lie uncompressed one behind the other; None where they do not."""
    plain = page.compression == 1 and not page.is_tiled and page.fillorder == 1
    return (
        int(page.dataoffsets[0])
        if plain and (page.planarconfig == 1 or page.samplesperpixel == 1) and page.is_contiguous
        else None
    )


def _paste(region: NDArray[Any], at: tuple[int, int], piece: NDArray[Any], place: tuple[int, int]) -> None:
    """Copy what `piece`, whose first pixel lies at `place`, and `region`, whose first lies at `at`, have in common."""
    top, left = max(at[0], place[0]), max(at[1], place[1])
    bottom = min(at[0] + region.shape[0], place[0] + piece.shape[0])
    right = min(at[1] + region.shape[1], place[1] + piece.shape[1])
    source = piece[top - place[0] : bottom - place[0], left - place[1] : right - place[1]]
    region[top - at[0] : bottom - at[0], left - at[1] : right - at[1]] = source
