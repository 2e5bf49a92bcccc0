"""An image as a grid of cells, restored one after another: what a file of any size needs of the network and of the memory.

A cell is made of whole tiles of the target, so that every tile is compressed once and for all. It goes through the network as
one tile or, where the device's memory does not suffice, as several, and equals the same region of whole-image inference. In
memory are, with C the side of a cell, h the halo and s the scale,

    the decoded pieces of the source under (C + 2h)^2 pixels; under (C + 2h) rows where the source has strips
    the activations of one batch of tiles of (C + 2h)^2 pixels
    (s * C)^2 pixels of the target, and the same once more compressed

and nothing that grows with the height of the image.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from math import isqrt, lcm
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from restore_sdk.backends.base import Backend
from restore_sdk.host_images import HostImages, Infer, InferMany, TileCallback, in_range
from restore_sdk.image.big_facts import BigFacts, BigSource, BigTarget, Record
from restore_sdk.image.layout import FloatNCHW, Layout, check_channels, new_output, read_tile, write_tile
from restore_sdk.image.validation import FAR_ABOVE_WHITE, check_finite, check_shape, warn_of_scale
from restore_sdk.options import TileOptions
from restore_sdk.spec import ModelSpec
from restore_sdk.tiling.choice import DEFAULT_BYTES_PER_PIXEL
from restore_sdk.tiling.pipelined import walk_many
from restore_sdk.tiling.plan import Span, TilePlan, split_axis
from restore_sdk.tiling.recovery import Plan, Recovery
from restore_sdk.tiling.walk import walk

HUGE_MEMORY_MB = 256  # MiB of activations at most where no core is asked for; larger tiles would save little
TILE = 256  # side of the target's tiles where the source has none, pixels
_SMALLEST_TILE = 16  # what TIFF allows
_ALPHA_MARGIN = 4  # pixels that the bicubic enlargement of alpha looks beyond a cell


@dataclass(frozen=True, slots=True)
class Network:
    """What restores a tile. `plan` is Planner.plan; `runtime` is what the bits depend on beside the model, as JSON types."""

    spec: ModelSpec
    plan: Plan
    recovery: Recovery
    infer: Infer
    infer_many: InferMany | None
    runtime: object


def network_of(backend: Backend, host: HostImages, infer_many: InferMany | None = None) -> Network:
    """What restores the tiles of `host` on `backend`; `infer_many`, in units of [0, 1], where it takes several in flight."""
    spec, report = backend.spec, backend.report()
    runtime = {name: report.get(name) for name in ("backend", "version", "device", "precision")}
    return Network(spec, host.plan, host.recovery, in_range(backend.infer, spec.value_range), infer_many, runtime)


def plan_cells(facts: BigFacts, network: Network, options: TileOptions | None) -> tuple[TilePlan, tuple[int, int]]:
    """The cells of an image, and the (height, width) of the target's tiles, of which every cell is made.

    All cells have one outer shape, so that a runtime prepares itself, and lays out its memory, once. Raises TilingError.
    """
    spec = network.spec
    shape = (facts.height, facts.width, facts.channels) if facts.channels else (facts.height, facts.width)
    check_shape(shape, spec.min_size)
    check_channels(_layout(facts, facts.height, facts.width), spec.channels)
    if options is not None and options.core is None:
        options = replace(options, memory_mb=min(options.memory_mb, HUGE_MEMORY_MB))
    plan = network.plan(facts.height, facts.width, options)
    side = max(plan.height, plan.width) if options is None or plan.count == 1 else _side(spec, plan.halo, options)
    multiple = spec.size_multiple * spec.scale
    grid = tuple(_tile(facts, own, side * spec.scale, multiple) for own in facts.tile)
    units = [lcm(tile, multiple) // spec.scale for tile in grid]
    if plan.count > 1:
        rows, columns = (_spans(n, side, unit, plan.halo) for n, unit in zip((plan.height, plan.width), units, strict=True))
        plan = replace(plan, rows=rows, columns=columns)
    return plan, (grid[0], grid[1])


def _side(spec: ModelSpec, halo: int, options: TileOptions) -> int:
    """Longest side of a cell, pixels."""
    if options.core is not None:
        return options.core
    affordable = options.memory_mb * 2**20 / (spec.bytes_per_pixel or DEFAULT_BYTES_PER_PIXEL) / options.batch
    return max(_SMALLEST_TILE, isqrt(int(affordable)) - 2 * halo)


def _tile(facts: BigFacts, own: int, side: int, multiple: int) -> int:
    """Side of the target's tiles, its pixels: the source's own, or smaller where a cell cannot hold it."""
    wanted = [own] if facts.tiled and own % _SMALLEST_TILE == 0 else []
    return next((tile for tile in (*wanted, TILE, TILE // 2, TILE // 4) if lcm(tile, multiple) <= side), _SMALLEST_TILE)


def _spans(length: int, side: int, unit: int, halo: int) -> tuple[Span, ...]:
    """Even cores of multiples of `unit` but for the last; outer parts of one length, moved inward at the borders."""
    blocks = -(-length // unit)
    count = -(-blocks // max(1, side // unit))
    cores = [(span.core_start, min(span.core_stop, length)) for span in split_axis(blocks * unit, count, 0, unit)]
    outer = max(min(length, stop + halo) - max(0, start - halo) for start, stop in cores)
    firsts = [min(max(0, start - halo), length - outer) for start, _ in cores]
    return tuple(Span(start, stop, first, first + outer) for (start, stop), first in zip(cores, firsts, strict=True))


def _layout(facts: BigFacts, height: int, width: int) -> Layout:
    return Layout(height, width, facts.channels, facts.dtype)


class CellRun:
    """The cells of one image on their way through the network. For one thread."""

    def __init__(
        self, source: BigSource, target: BigTarget, network: Network, cells: TilePlan, *, clip: bool, options: TileOptions | None
    ) -> None:
        self.target, self.cells, self._network, self._options = target, cells, network, options
        facts = source.facts
        self._image = _Regions(source, warn=clip)
        self._layout = _layout(facts, facts.height, facts.width)
        self._clip, self._row = clip, 0
        self._lefts = [column.core_start for column in cells.columns]
        self._begun: dict[int, _Cell] = {}  # by column: what is restored in part
        self._finished: Callable[[Record], None] = _nobody

    def go(self, done: Collection[Record], finished: Callable[[Record], None], on_tile: TileCallback | None) -> None:
        """Restore every cell that is not `done`; `finished` is told of each when it is in the target for good.

        Raises what reading, inferring and writing raise.
        """
        there = {tuple(record["cell"]) for record in done}
        count = len(there)

        def counted(record: Record) -> None:
            nonlocal count
            count += 1
            finished(record)
            if on_tile is not None:
                on_tile(count, self.cells.count)

        self._finished = counted
        for y, row in enumerate(self.cells.rows):
            self._row, self._image.rows = y, row
            left = [column for x, column in enumerate(self.cells.columns) if (y, x) not in there]
            while left:  # in smaller tiles, a row of cells would be restored row by row and all of it be in memory
                at_once = len(left) if self._network.recovery.known is None else 1
                self._restore(replace(self.cells, rows=(row,), columns=tuple(left[:at_once])))
                left = left[at_once:]

    def _restore(self, part: TilePlan) -> None:
        """Some cells of one row."""
        options, multiple = self._options, self._network.spec.size_multiple
        replan = None if options is None else lambda core: _finer(part, core, multiple)
        self._network.recovery.run(part, self._walk, replan=replan, batch=1 if options is None else options.batch)

    def _walk(self, plan: TilePlan, batch: int, on_tile: TileCallback | None) -> None:
        network, scale = self._network, self._network.spec.scale
        if network.infer_many is None or plan.count == 1:
            walk(plan, self._read, network.infer, self._write, batch=batch, scale=scale, on_tile=on_tile)
        else:
            walk_many(plan, self._read, network.infer_many, self._write, batch=batch, scale=scale, on_tile=on_tile)

    def _read(self, row: Span, column: Span) -> FloatNCHW:
        image = cast(NDArray[Any], self._image)  # it is cut as an array is, and that is all that is done to it
        return read_tile(image, self._layout, row.outer_slice, column.outer_slice, channels=self._network.spec.channels)

    def _write(self, row: Span, column: Span, core: FloatNCHW) -> None:
        x = bisect_right(self._lefts, column.core_start) - 1
        cell = self._begun.get(x)
        if cell is None:
            cell = self._begun[x] = self._new_cell(self.cells.rows[self._row], self.cells.columns[x])
        cell.put(row, column, core, clip=self._clip)
        if cell.missing:
            return
        del self._begun[x]
        scale = self._network.spec.scale
        record = self.target.write(cell.row.core_start * scale, cell.column.core_start * scale, cell.pixels)
        self._finished({"cell": [self._row, x], **record})

    def _new_cell(self, row: Span, column: Span) -> _Cell:
        height, width = self._layout.height, self._layout.width
        rows, columns = slice(row.core_start, min(row.core_stop, height)), slice(column.core_start, min(column.core_stop, width))
        layout, scale = (
            replace(self._layout, height=rows.stop - rows.start, width=columns.stop - columns.start),
            self._network.spec.scale,
        )
        if not layout.has_alpha:
            return _Cell(row, column, layout, np.empty(layout.scaled_shape(scale), layout.dtype), scale)
        top, left = max(0, rows.start - _ALPHA_MARGIN), max(0, columns.start - _ALPHA_MARGIN)
        around = self._image[slice(top, rows.stop + _ALPHA_MARGIN), slice(left, columns.stop + _ALPHA_MARGIN)]
        enlarged = new_output(around, replace(layout, height=around.shape[0], width=around.shape[1]), scale=scale)
        above, before = (rows.start - top) * scale, (columns.start - left) * scale
        pixels = enlarged[above : above + layout.height * scale, before : before + layout.width * scale]
        return _Cell(row, column, layout, np.ascontiguousarray(pixels), scale)


class _Cell:
    """A cell that is being restored: its pixels, and how many of the padded image's are not there yet."""

    __slots__ = ("_layout", "_scale", "column", "missing", "pixels", "row")

    def __init__(self, row: Span, column: Span, layout: Layout, pixels: NDArray[Any], scale: int) -> None:
        self.row, self.column, self._layout, self.pixels, self._scale = row, column, layout, pixels, scale
        self.missing = row.core * column.core

    def put(self, row: Span, column: Span, core: FloatNCHW, *, clip: bool) -> None:
        """The core of one tile, which lies in this cell."""
        rows, columns = _moved(row, self.row.core_start), _moved(column, self.column.core_start)
        write_tile(self.pixels, self._layout, rows, columns, core, scale=self._scale, clip=clip)
        self.missing -= row.core * column.core


class _Regions:
    """A source that is cut like an array, image[rows, columns]; and always over all `rows` of the cells in work, so that a source
    that is read from top to bottom never has to go back."""

    def __init__(self, source: BigSource, *, warn: bool) -> None:
        self._source, self._warn = source, warn and source.facts.dtype.kind == "f"
        self.rows = Span(0, 0, 0, 0)

    def __getitem__(self, place: tuple[slice, slice]) -> NDArray[Any]:
        rows, columns = place
        facts = self._source.facts
        top, stop = min(rows.start, self.rows.outer_start), min(max(rows.stop, self.rows.outer_stop), facts.height)
        region = self._source.read(slice(top, stop), slice(columns.start, min(columns.stop, facts.width)))
        part = region[rows.start - top : rows.stop - top]
        if facts.dtype.kind == "f":
            check_finite(part)
        if self._warn and float(part.max()) > FAR_ABOVE_WHITE:
            self._warn = False
            warn_of_scale(part)
        return part


def _finer(part: TilePlan, core: int, multiple: int) -> TilePlan:
    """The same cells cut into cores of at most `core` pixels a side."""

    def cut(spans: tuple[Span, ...], length: int) -> Iterator[Span]:
        for span in spans:
            for piece in split_axis(span.core, -(-span.core // core), 0, multiple):
                start, stop = span.core_start + piece.core_start, span.core_start + piece.core_stop
                yield Span(start, stop, max(0, start - part.halo), min(length, stop + part.halo))

    return replace(part, rows=tuple(cut(part.rows, part.height)), columns=tuple(cut(part.columns, part.width)))


def _moved(span: Span, start: int) -> slice:
    """The core of `span` as counted from `start`."""
    return slice(span.core_start - start, span.core_stop - start)


def _nobody(record: Record) -> None:
    """Told of a finished cell before anybody asked to be."""
