"""Huge images as regions that are read and written one after another: what a source says of itself, and what a target must do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

FORMATS_THAT_WORK = "tiled or striped TIFF, BigTIFF, OME-TIFF, Zarr, and as a source PNG that is not interlaced"
MIB = 2**20
LARGEST_PIECE = 256 * MIB  # bytes of one strip, tile or chunk when decoded: it is in memory at once

Record: TypeAlias = dict[str, Any]  # JSON types
TiffTag: TypeAlias = tuple[int, int, int, bytes | tuple[int | float, ...]]  # (code, field type, count, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class BigMetadata:
    """What the picture carries beside its pixels.

    dpi:         pixels per inch (x, y).
    orientation: as in EXIF; huge pixels stay as they are stored, so it goes into the target.
    description: text of the picture, if no program's own data.
    tags:        further TIFF tags as they lie in the file: author, camera, georeference.
    pixel_size:  physical size of a pixel (x, y) with its unit, from OME metadata.
    attributes:  of a Zarr array.
    """

    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    orientation: int = 1
    description: bytes | None = None
    tags: tuple[TiffTag, ...] = ()
    pixel_size: tuple[float, float, str] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def stripped(self) -> BigMetadata:
        """Without anything but the orientation, which the pixels need to stand upright."""
        return BigMetadata(orientation=self.orientation)


@dataclass(frozen=True, slots=True, kw_only=True)
class BigFacts:
    """A huge image, by its header. channels: 0 for gray; tile: (height, width) of its own pieces, pixels; big: 64-bit offsets.

    compression: a TIFF compression number, or a Zarr array's codecs; predictor: of TIFF.
    """

    format: str
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    tile: tuple[int, int]
    tiled: bool
    big: bool = False
    compression: Any = 8
    predictor: int = 2
    metadata: BigMetadata = field(default_factory=BigMetadata)
    notices: tuple[str, ...] = ()


class BigSource(Protocol):
    """An open image of any size."""

    @property
    def facts(self) -> BigFacts:
        """What its header says."""
        ...

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Pixels [rows, columns], (h, w) or (h, w, C), native byte order, all inside the image. Raises ImageReadError."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class BigTarget(Protocol):
    """An image that comes into being region by region, beside its final name. Every region starts on `grid`."""

    @property
    def keeps(self) -> bool:
        """Whether finished regions outlast the process."""
        ...

    def start(self, done: Iterable[Record]) -> list[Record]:
        """Open for writing; of the regions `done` by an earlier process, those that are really there."""
        ...

    def write(self, top: int, left: int, pixels: NDArray[Any]) -> Record:
        """One region for good; the record says where it lies."""
        ...

    def finish(self, records: Iterable[Record]) -> tuple[str, ...]:
        """All regions are there: make the image whole, under its final name. Returns what could not be kept, in words."""
        ...

    def close(self) -> None:
        """Release the file; the unfinished image stays."""
        ...

    def discard(self) -> None:
        """Remove the unfinished image."""
        ...
