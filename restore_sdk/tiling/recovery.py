"""Out of memory in the middle of an image: what is finished stays, and the rest goes on in smaller tiles.

Only the core of a tile is halved, never its halo, so exact tiles stay exact and the result keeps its bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from threading import Lock
from typing import TypeAlias

from restore_sdk.errors import DeviceMemoryError, TilingError
from restore_sdk.options import SMALLEST_CORE, TileOptions
from restore_sdk.tiling.plan import Span, TilePlan, split_axis

TileCallback: TypeAlias = Callable[[int, int], None]
Plan: TypeAlias = Callable[[int, int, TileOptions | None], TilePlan]  # (height, width, options), as Planner.plan
Replan: TypeAlias = Callable[[int], TilePlan]  # side of a core in pixels -> the plan of the same image with cores of at most that
Work: TypeAlias = Callable[[TilePlan, int, TileCallback | None], None]  # (plan, tiles in one batch, on_tile), as walk() does it

FULL = (DeviceMemoryError, MemoryError)  # the second is what a backend of the user's own raises, and NumPy


@dataclass(frozen=True, slots=True)
class Recovered:
    """What did not fit: a batch of `pixels`, halos included, with cores of `start` pixels a side. What did: cores of `core`."""

    pixels: int
    start: int
    core: int


class Recovery:
    """Runs plans for one network and remembers the size that fitted, for the calls that follow. Any number of threads may run
    at once. While nothing fails it costs one comparison."""

    def __init__(self, multiple: int = 1) -> None:
        """`multiple`: what the cores of tiles are multiples of, pixels; no core goes below it or SMALLEST_CORE."""
        self._multiple = multiple
        self._floor = -(-SMALLEST_CORE // multiple) * multiple
        self.known: Recovered | None = None  # None while everything fitted
        self._lock = Lock()

    def run(
        self, plan: TilePlan, work: Work, *, replan: Replan | None, batch: int = 1, on_tile: TileCallback | None = None
    ) -> TilePlan:
        """`work` on all of `plan`, at once or in parts; returns the plan that it began with.

        work     does every tile of the plan it is given, in their order, and calls its on_tile after each one. The plan may
                 be a part of the image, also where it has one tile: only the core is to be kept
        replan   gives the same image's plan for another core; None: tiles may not be made smaller

        Raises DeviceMemoryError or MemoryError where the smallest core does not fit either, and what `work` raises.
        """
        if self.known is not None:
            plan, batch = self._fitting(self.known, plan, batch, replan)
        progress = _Progress(plan.count, on_tile)
        try:
            work(plan, batch, on_tile if plan.count == 1 else progress)
        except FULL:
            core = _core(plan) if batch > 1 else self._halved(_core(plan))  # a batch of several is given up first
            halo = None if core is None or replan is None else _halo(replan, core)
            if core is None or halo is None:
                raise
        else:
            return plan
        # Outside the handler: the error's traceback holds what had been read and computed.
        self._go_on(plan, work, progress, core=core, halo=halo, failed=batch * _pixels(plan))
        return plan

    def report(self) -> dict[str, int] | None:
        """{"from": side of the core that did not fit, "to": of the one that did}, pixels; None if all did."""
        known = self.known
        return None if known is None else {"from": known.start, "to": known.core}

    def _go_on(self, plan: TilePlan, work: Work, progress: _Progress, *, core: int, halo: int, failed: int) -> None:
        """The tiles of `plan` that are not done, each cut into cores of at most `core`."""
        waiting = deque(islice(plan.tiles, progress.done, None))
        while waiting:
            part = self._pieces(plan, waiting.popleft(), core, halo)
            progress.total = progress.done + part.count + len(waiting)
            before = progress.done
            try:
                work(part, 1, progress)
            except FULL:
                smaller = self._halved(min(core, _core(part)))
                if smaller is None:
                    raise
                failed, core = min(failed, _pixels(part)), smaller
                waiting.extendleft(reversed([*islice(part.tiles, progress.done - before, None)]))
        with self._lock:
            known = self.known or Recovered(failed, _core(plan), core)
            self.known = Recovered(min(known.pixels, failed), max(known.start, _core(plan)), min(known.core, core))

    def _fitting(self, known: Recovered, plan: TilePlan, batch: int, replan: Replan | None) -> tuple[TilePlan, int]:
        """`plan` and `batch`, smaller where they are as large as what did not fit."""
        if replan is None or batch * _pixels(plan) < known.pixels:
            return plan, batch
        return (plan if _core(plan) <= known.core else replan(known.core)), 1

    def _halved(self, core: int) -> int | None:
        """The next smaller core; None at the floor."""
        return None if core <= self._floor else max(self._floor, core // 2 // self._multiple * self._multiple)

    def _pieces(self, plan: TilePlan, tile: tuple[Span, Span], core: int, halo: int) -> TilePlan:
        """One tile of `plan`, cut into cores of at most `core`, each with the whole halo."""
        rows, columns = self._cut(tile[0], core, halo, plan.height), self._cut(tile[1], core, halo, plan.width)
        return TilePlan(plan.height, plan.width, halo, rows, columns)

    def _cut(self, span: Span, core: int, halo: int, length: int) -> tuple[Span, ...]:
        parts = split_axis(span.core, -(-span.core // core), 0, self._multiple)
        edges = ((span.core_start + part.core_start, span.core_start + part.core_stop) for part in parts)
        return tuple(Span(start, stop, max(0, start - halo), min(length, stop + halo)) for start, stop in edges)


class _Progress:
    """Tiles done, over all the parts of one image."""

    __slots__ = ("_on_tile", "done", "total")

    def __init__(self, total: int, on_tile: TileCallback | None) -> None:
        self.done, self.total, self._on_tile = 0, total, on_tile

    def __call__(self, _done: int, _total: int) -> None:
        self.done += 1
        if self._on_tile is not None:
            self._on_tile(self.done, self.total)


def replanner(plan: Plan, height: int, width: int, options: TileOptions | None) -> Replan | None:
    """How an image of `height` x `width` pixels may be planned again by Planner.plan; None where it is never to be cut."""
    return None if options is None else lambda core: plan(height, width, replace(options, core=core))


def _core(plan: TilePlan) -> int:
    """Side of the largest core, pixels."""
    return max(span.core for spans in (plan.rows, plan.columns) for span in spans)


def _pixels(plan: TilePlan) -> int:
    height, width = plan.largest_tile
    return height * width


def _halo(replan: Replan, core: int) -> int | None:
    """The halo that tiles of this image need; None where the network reads the whole image, so that none is enough."""
    try:
        return replan(core).halo
    except TilingError:
        return None
