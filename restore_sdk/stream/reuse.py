"""Tiles that are the same as in the frame before are not computed again.

A backend computes a tile from its pixels alone, so equal pixels, core and halo, give equal results: reuse is exact. What
counts as a tile is the restorer's tile plan; with one tile a frame, only whole frames that stand still are reused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from restore_sdk.backends.base import Backend, FloatNCHW
from restore_sdk.spec import ModelSpec


class ReusedTiles:
    """A Backend around another: the n-th tile of a frame is compared with the n-th tile of the frame before, bit by bit.

    Holds the tiles of one frame, given and restored: 12 bytes a pixel and plane pair, halos included. Any number of threads may
    infer at once. The inner backend stays its owner's to close.

        tiles = ReusedTiles(backend)
        restorer = Restorer(tiles, tile=256)
        with stream_frames(restorer.restore, frames, reuse=tiles) as restored: ...
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._kept: dict[int, tuple[FloatNCHW, FloatNCHW]] = {}
        self._frame = threading.local()
        self._lock = threading.Lock()
        self._reused = self._seen = 0

    @property
    def spec(self) -> ModelSpec:
        return self._backend.spec

    @property
    def total_share(self) -> float:
        """Share of all tiles so far that were taken over, 0 to 1."""
        return self._reused / self._seen if self._seen else 0.0

    def begin_frame(self) -> None:
        """The calling thread's next tile is the first of a frame."""
        self._frame.index, self._frame.reused = 0, 0

    def share(self) -> float:
        """Share of the tiles of the calling thread's frame that were taken over; forgets tiles that the frame no longer has."""
        index: int = getattr(self._frame, "index", 0)
        with self._lock:
            for stale in [kept for kept in self._kept if kept >= index]:
                del self._kept[stale]
        return cast(int, self._frame.reused) / index if index else 0.0

    def infer(self, batch: FloatNCHW, /) -> FloatNCHW:
        if not hasattr(self._frame, "index"):
            self.begin_frame()
        index: int = self._frame.index
        kept = self._kept.get(index)
        same = kept is not None and _same_bits(kept[0], batch)
        restored = kept[1] if kept is not None and same else self._backend.infer(batch)
        with self._lock:
            if not same:
                self._kept[index] = (batch.copy(), restored)
            self._seen += 1
            self._reused += same
        self._frame.index = index + 1
        self._frame.reused += same
        return restored

    def warm_up(self, shapes: Iterable[tuple[int, int, int, int]], /) -> None:
        self._backend.warm_up(shapes)

    def report(self) -> Mapping[str, object]:
        return {**self._backend.report(), "reused_tiles": round(self.total_share, 4)}

    def close(self) -> None:
        """Forget the tiles."""
        self._kept.clear()


def _same_bits(kept: FloatNCHW, batch: FloatNCHW) -> bool:
    if kept.shape != batch.shape:
        return False
    return bool(np.array_equal(_bits(kept), _bits(batch)))


def _bits(batch: FloatNCHW) -> NDArray[np.uint32]:
    return np.ascontiguousarray(batch).view(np.uint32)
