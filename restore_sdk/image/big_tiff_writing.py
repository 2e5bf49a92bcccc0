"""A tiled TIFF or BigTIFF that comes into being tile by tile, and goes on where a kill stopped it.

tifffile writes the whole directory with empty tiles first. The tiles are then compressed and put behind it in the order in which
they are finished, and at the end their positions are entered. Until then the file has a temporary name.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from restore_sdk.extras import require
from restore_sdk.image.big_facts import BigFacts, Record
from restore_sdk.image.big_publishing import written
from restore_sdk.image.big_tiff_tags import ome_metadata, orientation_tag

_NONE, _LZW, _JPEG, _DEFLATE, _PACKBITS, _LZMA, _ZSTD = 1, 5, 7, 8, 32773, 34925, 50000
_SAME = {_NONE: _NONE, _LZW: _LZW, _JPEG: _JPEG, _DEFLATE: _DEFLATE, 32946: _DEFLATE, _PACKBITS: _PACKBITS}
_SAME |= {_LZMA: _LZMA, _ZSTD: _ZSTD, 50013: _DEFLATE}
_WITH_PREDICTOR = {_LZW, _DEFLATE, _LZMA, _ZSTD}
_LEVELS = {_DEFLATE: 6, _ZSTD: 9}
_HORIZONTAL, _FLOATING_POINT = 2, 3
_CLASSIC_LIMIT = 2 * 2**30  # bytes of pixels; beyond it, offsets of 32 bits might not reach
_SOFTWARE = "restore-sdk"
DEFAULT_QUALITY = 95  # of JPEG tiles, which no longer look as they did when their pixels have changed


def kept_compression(facts: BigFacts) -> tuple[int, tuple[str, ...]]:
    """The compression of the target, and a notice where the source's own cannot be kept."""
    if facts.format != "TIFF":
        return _DEFLATE, ()
    kept = _SAME.get(facts.compression, _DEFLATE)
    if kept == _JPEG and (facts.dtype != np.uint8 or facts.channels == 4):
        kept = _DEFLATE
    lost = f"the compression {facts.compression} became deflate, which is lossless"
    return kept, () if facts.compression in _SAME and kept == _SAME[facts.compression] else (lost,)


class TiffTarget:
    """A tiled TIFF at `partial` that becomes `path`. `facts` are the target's own; its tile is the grid. Not thread-safe."""

    keeps = True

    def __init__(self, path: Path, partial: Path, facts: BigFacts, *, quality: int | None = None) -> None:
        self._path, self._partial, self._facts = path, partial, facts
        self._tifffile = require("tifffile", "tiff")
        require("imagecodecs", "tiff")
        self._encode = self._encoder(DEFAULT_QUALITY if quality is None else quality)
        self._columns = -(-facts.width // facts.tile[1])
        self._count = self._columns * -(-facts.height // facts.tile[0])
        self._file: BinaryIO | None = None

    def start(self, done: Iterable[Record]) -> list[Record]:
        """See BigTarget.start."""
        with written(self._path):
            there = [record for record in done if self._is_there(record)] if self._partial.is_file() else []
            if not there:
                self._write_directory()
            end = max((record["at"] + sum(record["lengths"]) for record in there), default=os.path.getsize(self._partial))
            self._file = open(self._partial, "r+b", buffering=0)  # noqa: SIM115 closed by close()
            self._file.truncate(end)
            self._file.seek(end)
        return there

    def write(self, top: int, left: int, pixels: NDArray[Any]) -> Record:
        """See BigTarget.write. The record: "at", the byte where the tiles begin; their indices and lengths; their checksum."""
        file = self._opened()
        tiles = list(self._tiles(top, left, pixels))
        encoded = [self._encode(tile) for _, tile in tiles]
        with written(self._path):
            at, data = file.tell(), memoryview(b"".join(encoded))
            done = 0
            while done < len(data):
                done += file.write(data[done:])
        lengths = [len(tile) for tile in encoded]
        return {"at": at, "tiles": [index for index, _ in tiles], "lengths": lengths, "crc": zlib.crc32(data)}

    def finish(self, records: Iterable[Record]) -> tuple[str, ...]:
        """See BigTarget.finish. The file still has its temporary name."""
        offsets, counts = [0] * self._count, [0] * self._count
        for record in records:
            at = record["at"]
            for index, length in zip(record["tiles"], record["lengths"], strict=True):
                offsets[index], counts[index] = at, length
                at += length
        self.close()
        with written(self._path):
            self._enter_positions(offsets, counts)
            with self._partial.open("rb") as file:
                os.fsync(file.fileno())
        return ()

    def close(self) -> None:
        """See BigTarget.close."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def discard(self) -> None:
        """See BigTarget.discard."""
        self.close()
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise ValueError("write() before start()")
        return self._file

    def _is_there(self, record: Record) -> bool:
        with self._partial.open("rb") as file:
            file.seek(record["at"])
            data = file.read(sum(record["lengths"]))
        return len(data) == sum(record["lengths"]) and zlib.crc32(data) == record["crc"]

    def _tiles(self, top: int, left: int, pixels: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """(index in the file, whole tile) of each tile of a region; beyond the border the last pixel is repeated."""
        height, width = self._facts.tile
        channels = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
        for y in range(0, pixels.shape[0], height):
            for x in range(0, pixels.shape[1], width):
                tile = channels[y : y + height, x : x + width]
                below, right = height - tile.shape[0], width - tile.shape[1]
                if below or right:
                    tile = np.pad(tile, ((0, below), (0, right), (0, 0)), mode="edge")
                yield (top + y) // height * self._columns + (left + x) // width, np.ascontiguousarray(tile)

    def _write_directory(self) -> None:
        facts, metadata = self._facts, self._facts.metadata
        ome = self._path.name.lower().endswith((".ome.tif", ".ome.tiff"))
        gray = facts.channels < 3
        options: dict[str, Any] = {"metadata": ome_metadata(metadata, gray=gray)} if ome else {"metadata": None}
        if metadata.description and not ome:
            options["description"] = metadata.description
        if metadata.dpi is not None:
            options |= {"resolution": metadata.dpi, "resolutionunit": 2}
        if facts.compression == _JPEG and not gray:
            options["subsampling"] = (1, 1)
        if facts.channels == 4:
            options["extrasamples"] = ["unassalpha"]
        with self._tifffile.TiffWriter(self._partial, bigtiff=facts.big, ome=ome) as writer:
            writer.write(
                repeat(b"", self._count),
                shape=(facts.height, facts.width) if gray else (facts.height, facts.width, facts.channels),
                dtype=facts.dtype,
                tile=facts.tile,
                photometric="minisblack" if gray else "rgb",
                planarconfig=None if gray else "contig",
                compression=None if facts.compression == _NONE else facts.compression,
                predictor=facts.predictor if facts.predictor > 1 else None,
                software=_SOFTWARE,
                iccprofile=metadata.icc,
                extratags=[(*tag, True) for tag in (*metadata.tags, *orientation_tag(metadata.orientation))],
                **options,
            )
        empty = [0] * self._count  # of their final type, so that finish() has no need to put them elsewhere
        self._enter_positions(empty, empty)

    def _enter_positions(self, offsets: list[int], counts: list[int]) -> None:
        kind = "Q" if self._facts.big else "I"
        with self._tifffile.TiffFile(self._partial, mode="r+b") as tiff:
            for name, values, dtype in (("TileOffsets", offsets, kind), ("TileByteCounts", counts, "I")):
                tiff.pages.first.tags[name].overwrite(tuple(values), dtype=dtype, erase=False)

    def _encoder(self, quality: int) -> Callable[[NDArray[Any]], bytes]:
        """(h, w, samples) -> the bytes of one tile."""
        compression, gray = self._facts.compression, self._facts.channels < 3
        if compression == _NONE:
            return lambda tile: tile.tobytes()
        compress = self._tifffile.TIFF.COMPRESSORS[compression]
        if compression == _JPEG:
            spaces = {} if gray else {"colorspace": "RGB", "outcolorspace": "YCBCR", "subsampling": "444"}
            return lambda tile: bytes(compress(tile[..., 0] if gray else tile, level=quality, **spaces))
        predict = self._tifffile.TIFF.PREDICTORS[self._facts.predictor]
        options = {"level": _LEVELS[compression]} if compression in _LEVELS else {}
        if compression == _PACKBITS:
            options["axis"] = -2
        return lambda tile: bytes(compress(predict(tile, axis=-2), **options))


def target_predictor(compression: int, source: BigFacts) -> int:
    """The predictor of the target: the source's where it had one or was no TIFF."""
    wanted = source.predictor > 1 or source.format != "TIFF"
    if compression not in _WITH_PREDICTOR or not wanted:
        return 1
    return _FLOATING_POINT if source.dtype.kind == "f" else _HORIZONTAL


def needs_big(facts: BigFacts, height: int, width: int) -> bool:
    """Whether a target of so many pixels is to be a BigTIFF: where its source was, or 32-bit offsets might not reach."""
    return facts.big or height * width * max(1, facts.channels) * facts.dtype.itemsize > _CLASSIC_LIMIT
