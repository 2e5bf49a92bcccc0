"""What a Restorer really gives its backend for one image: counted, not read from its plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.options import TileChoice
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class ObservedTiles:
    """count: tiles; pixels: all computed ones; largest: of one call; padded: pixels of the image padded to the multiple."""

    count: int
    pixels: int
    largest: int
    padded: int

    @property
    def overhead(self) -> float:
        """Computed pixels over those of the padded image: what exact tiles must cost in time."""
        return self.pixels / self.padded


def observe_tiles(spec: ModelSpec, height: int, width: int, tile: TileChoice) -> ObservedTiles:
    """Cut a (height, width) image as a Restorer of this spec does, with a network that returns its input."""
    shapes: list[tuple[int, ...]] = []

    def copy(batch: FloatNCHW) -> FloatNCHW:
        shapes.append(batch.shape)
        return batch.copy()

    with Restorer(FunctionBackend(spec, copy)) as restorer:
        restorer.restore(np.zeros((height, width, 3), np.uint8), tile=tile)
    pixels = [shape[0] * shape[2] * shape[3] for shape in shapes]
    multiple = spec.size_multiple
    padded = (height + -height % multiple) * (width + -width % multiple)
    return ObservedTiles(sum(shape[0] for shape in shapes), sum(pixels), max(pixels), padded)
