"""Formats that know no regions, as sources and targets: read whole before the first region, written after the last one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_sdk.image.big_facts import BigFacts, BigMetadata, Record
from restore_sdk.image.files import ImageFile, read_image, write_image


class WholeSource:
    """A file that is decoded at once."""

    def __init__(self, path: Path) -> None:
        file = read_image(path)
        self._pixels = file.pixels
        height, width = file.pixels.shape[:2]
        self.facts = BigFacts(
            format=file.format,
            height=height,
            width=width,
            channels=file.pixels.shape[2] if file.pixels.ndim == 3 else 0,
            dtype=file.pixels.dtype.newbyteorder("="),
            tile=(height, width),
            tiled=False,
            metadata=BigMetadata(icc=file.icc, dpi=file.dpi),
            notices=(*file.notices, *(("the EXIF data is not kept",) if file.exif else ())),
        )

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """See BigSource.read."""
        return self._pixels[rows, columns]

    def close(self) -> None:
        """Nothing stays open."""


class WholeTarget:
    """An array that becomes a file at the end. Nothing of it outlasts the process."""

    keeps = False

    def __init__(self, path: Path, facts: BigFacts, *, quality: int | None, overwrite: bool) -> None:
        self._path, self._facts, self._quality, self._overwrite = path, facts, quality, overwrite
        self._pixels: NDArray[Any] | None = None

    def start(self, done: Iterable[Record]) -> list[Record]:
        """See BigTarget.start."""
        facts = self._facts
        sides = (facts.height, facts.width)
        self._pixels = np.empty((*sides, facts.channels) if facts.channels else sides, facts.dtype)
        return []

    def write(self, top: int, left: int, pixels: NDArray[Any]) -> Record:
        """See BigTarget.write."""
        if self._pixels is None:
            raise ValueError("write() before start()")
        height, width = pixels.shape[:2]
        self._pixels[top : top + height, left : left + width] = pixels
        return {}

    def finish(self, records: Iterable[Record]) -> tuple[str, ...]:
        """See BigTarget.finish."""
        if self._pixels is None:
            raise ValueError("finish() before start()")
        metadata = self._facts.metadata
        file = ImageFile(self._pixels, icc=metadata.icc, dpi=metadata.dpi)
        lost = write_image(self._path, file, overwrite=self._overwrite, quality=self._quality)
        return (*lost, *(("the orientation is not kept",) if metadata.orientation != 1 else ()))

    def close(self) -> None:
        """See BigTarget.close."""

    def discard(self) -> None:
        """See BigTarget.discard."""
        self._pixels = None
