"""Large images: overlapping tiles of one size, each fitted on its own, laid over one another with weights that fade out.

Batch normalisation takes its statistics from the whole input, so no halo makes tiles match the whole image: neighbours differ a
little everywhere, and the overlap hides it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of the image, pixels; `cut` says on which sides there is a neighbour (top, bottom, left, right)."""

    top: int
    left: int
    height: int
    width: int
    cut: tuple[bool, bool, bool, bool]

    @property
    def rows(self) -> slice:
        """Rows of the image."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """Columns of the image."""
        return slice(self.left, self.left + self.width)


def tile_starts(length: int, side: int, overlap: int) -> list[int]:
    """Where the tiles of one axis start: as few as possible, evenly spread, neighbours sharing at least `overlap` pixels."""
    if length <= side:
        return [0]
    count = math.ceil((length - overlap) / (side - overlap))
    return [round(number * (length - side) / (count - 1)) for number in range(count)]


def cut_up(height: int, width: int, side: int, overlap: int) -> list[Tile]:
    """Tiles of one size that cover the image, row by row. `side` is at most a side of the image in effect."""
    tall, wide = min(side, height), min(side, width)
    return [
        Tile(top, left, tall, wide, (top > 0, top + tall < height, left > 0, left + wide < width))
        for top in tile_starts(height, side, overlap)
        for left in tile_starts(width, side, overlap)
    ]


def trusted(tile: Tile, reach: int) -> NDArray[np.bool_]:
    """(height, width), False where an operator looks beyond a cut side."""
    inside = np.zeros((tile.height, tile.width), np.bool_)
    top, bottom, left, right = (reach if cut else 0 for cut in tile.cut)
    inside[top : tile.height - bottom, left : tile.width - right] = True
    return inside


def fading(tile: Tile, overlap: int, margin: int) -> NDArray[np.float32]:
    """(height, width), weights that rise from 0 to 1 over the overlap on cut sides, beginning `margin` pixels inside."""
    rows = _ramp(tile.height, tile.cut[:2], overlap, margin)
    columns = _ramp(tile.width, tile.cut[2:], overlap, margin)
    return np.asarray(np.outer(rows, columns), np.float32)


def merged(
    shape: tuple[int, int, int], tiles: Sequence[Tile], parts: Sequence[NDArray[np.float32]], overlap: int, margin: int
) -> NDArray[np.float32]:
    """(C, H, W) out of the parts (C, h, w): their weighted mean. The weights of any pixel sum to 1."""
    total, weights = np.zeros(shape, np.float32), np.zeros(shape[1:], np.float32)
    for tile, part in zip(tiles, parts, strict=True):
        fade = fading(tile, overlap, margin)
        total[:, tile.rows, tile.columns] += fade * part
        weights[tile.rows, tile.columns] += fade
    return np.asarray(total / weights, np.float32)


def scaled(tile: Tile, scale: int) -> Tile:
    """The tile in an image `scale` times as large."""
    return Tile(tile.top * scale, tile.left * scale, tile.height * scale, tile.width * scale, tile.cut)


def _ramp(length: int, cut: tuple[bool, ...], overlap: int, margin: int) -> Vector:
    place = np.arange(length) + 0.5
    span = max(1, overlap - 2 * margin)
    weights = np.ones(length)
    for side, distance in zip(cut, (place, length - place), strict=True):
        if side:
            weights = np.minimum(weights, (distance - margin) / span)
    return np.clip(weights, 1e-6, 1.0)
