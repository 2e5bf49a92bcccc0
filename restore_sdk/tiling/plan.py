"""Where tiles lie: integer geometry, no pixels.

Theorem (tested): let a network be made of finite-support, shift-equivariant operations with total stride S and receptive
radius R. If every tile is its core plus a halo >= R on each side that is not a border of the image, starts on a multiple of S,
gets nothing but the network's own padding at true borders, and only its core is kept, then the tiles together equal
whole-image inference. Each axis is split evenly and cut sides alone carry a halo, so an axis of length L in k tiles costs
1 + 2 * halo * (k - 1) / L of its pixels (as long as no core is shorter than the halo).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from restore_sdk.errors import OptionsError


@dataclass(frozen=True, slots=True)
class Span:
    """One tile on one axis, in pixels of the padded image: the core is kept, the outer part is what the network sees."""

    core_start: int
    core_stop: int
    outer_start: int
    outer_stop: int

    @property
    def core(self) -> int:
        """Length of the kept part, pixels."""
        return self.core_stop - self.core_start

    @property
    def outer(self) -> int:
        """Length of the part that the network sees, pixels."""
        return self.outer_stop - self.outer_start

    @property
    def core_slice(self) -> slice:
        return slice(self.core_start, self.core_stop)

    @property
    def outer_slice(self) -> slice:
        return slice(self.outer_start, self.outer_stop)


@dataclass(frozen=True, slots=True)
class TilePlan:
    """A grid of tiles, rows x columns, over an image padded to `height` x `width` pixels."""

    height: int
    width: int
    halo: int
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def tiles(self) -> Iterator[tuple[Span, Span]]:
        """(row, column) of every tile, row by row."""
        return ((row, column) for row in self.rows for column in self.columns)

    @property
    def count(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def computed_pixels(self) -> int:
        """Pixels that the network computes, halos included."""
        return sum(row.outer for row in self.rows) * sum(column.outer for column in self.columns)

    @property
    def overhead(self) -> float:
        """Computed pixels / pixels of the padded image; 1.0 for a single tile."""
        return self.computed_pixels / (self.height * self.width)

    @property
    def largest_tile(self) -> tuple[int, int]:
        """Greatest outer height and width, pixels: what bounds the memory."""
        return max(row.outer for row in self.rows), max(column.outer for column in self.columns)

    def described(self) -> dict[str, object]:
        """The plan in numbers, as JSON types; lengths in pixels."""
        return {
            "height": self.height,
            "width": self.width,
            "halo": self.halo,
            "tiles": self.count,
            "rows": len(self.rows),
            "columns": len(self.columns),
            "overhead": self.overhead,
            "largest_tile": list(self.largest_tile),
        }


def split_axis(length: int, count: int, halo: int, multiple: int) -> tuple[Span, ...]:
    """Cut `length` pixels into `count` cores as even as multiples of `multiple` allow (they differ by one multiple at most).

    Every core starts on a multiple; the longer ones lie at the two ends, where a tile has one halo only. `length` and `halo`
    must be multiples of `multiple`, and `count` at most length / multiple. Raises OptionsError.
    """
    _check_at_least("multiple", multiple, 1)
    _check_multiple("length", length, multiple, least=multiple)
    _check_multiple("halo", halo, multiple, least=0)
    blocks = length // multiple
    if not 1 <= count <= blocks:
        raise OptionsError("count", count, f"1 to {blocks} tiles on {length} pixels in multiples of {multiple}")
    short, longer = divmod(blocks, count)
    last_short = count - longer // 2  # index after which the longer cores of the far end follow
    edges = [multiple * (i * short + min(i, longer - longer // 2) + max(0, i - last_short)) for i in range(count + 1)]
    return tuple(Span(start, stop, max(0, start - halo), min(length, stop + halo)) for start, stop in pairwise(edges))


def plan_tiles(height: int, width: int, *, core: int, halo: int, multiple: int) -> TilePlan:
    """The fewest tiles whose cores are at most `core` pixels a side (at least one multiple). Raises OptionsError."""
    _check_at_least("core", core, 1)
    rows, columns = _axes(height, width, halo, multiple)
    core_blocks = max(1, core // multiple)
    return _grid(rows, columns, _ceil_div(rows.blocks, core_blocks), _ceil_div(columns.blocks, core_blocks))


def plan_whole(height: int, width: int, *, multiple: int) -> TilePlan:
    """One tile: the whole image, padded to the multiple. Raises OptionsError."""
    return _grid(*_axes(height, width, 0, multiple), 1, 1)


def plan_within(height: int, width: int, *, tile_pixels: int, halo: int, multiple: int) -> TilePlan:
    """The grid with the fewest computed pixels whose largest tile has at most `tile_pixels`; ties go to fewer tiles.

    Every halo counts in full in the search, also where the image's border would cut it short (cores shorter than the halo).
    If even the smallest tile (a core of one multiple) is larger than `tile_pixels`, the plan is the one with that smallest
    tile, however much it computes: compare `largest_tile` with what was asked. Raises OptionsError.
    """
    _check_at_least("tile_pixels", tile_pixels, 1)
    rows, columns = _axes(height, width, halo, multiple)
    counts = _fewest_pixels(rows, columns, tile_pixels) or (rows.smallest_count, columns.smallest_count)
    return _grid(rows, columns, *counts)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Closed forms for one axis of `length` pixels, halos counted in full."""

    length: int
    halo: int
    multiple: int

    @property
    def blocks(self) -> int:
        return self.length // self.multiple

    @property
    def smallest_count(self) -> int:
        """The count that gives the shortest possible outer length."""
        return self.count_within(self.multiple + 2 * self.halo) or 1

    def split(self, count: int) -> tuple[Span, ...]:
        return split_axis(self.length, count, self.halo, self.multiple)

    def computed(self, count: int) -> int:
        return self.length + 2 * self.halo * (count - 1)

    def largest(self, count: int) -> int:
        """Longest outer length: the ends have one halo and at most one multiple more than an inner tile's core."""
        if count == 1:
            return self.length
        short, longer = divmod(self.blocks, count)
        end = (short + (longer > 0)) * self.multiple + self.halo
        inner = (short + (longer > 2)) * self.multiple + 2 * self.halo
        return end if count == 2 else max(end, inner)

    def count_within(self, outer: int) -> int | None:
        """The fewest tiles with no outer length over `outer` pixels; None where there is none."""
        if self.length <= outer:
            return 1
        if self.blocks >= 2 and self.largest(2) <= outer:
            return 2
        core = (outer - 2 * self.halo) // self.multiple
        if core < 1:
            return None
        spare = 2 if self.halo else 0  # two cores may be one multiple longer: those at the ends
        return max(3, _ceil_div(self.blocks - spare, core))

    def next_smaller(self, count: int) -> int:
        """The next count whose largest tile may be smaller: there are about 6 * sqrt(blocks) of them, whatever the length."""
        if count < 3:
            return count + 1
        short = self.blocks // count
        counts = (_ceil_div(self.blocks - 2, short), _ceil_div(self.blocks, short), self.blocks // short + 1)
        return next(later for later in counts if later > count)  # at most two longer cores, none, a shorter core


def _fewest_pixels(rows: _Axis, columns: _Axis, tile_pixels: int) -> tuple[int, int] | None:
    """The counts of rows and columns; None where no tile is that small. Of the counts of rows with equal tiles, the first is the
    best, and one whose tiles leave no room for the narrowest columns is none at all: the others need not be tried."""
    best: tuple[int, int, int] | None = None  # computed pixels, tiles, columns: the order of preference
    best_rows = 0
    narrowest = min(columns.length, columns.multiple + 2 * columns.halo)
    row_count = rows.count_within(tile_pixels // narrowest) or rows.blocks + 1
    while row_count <= rows.blocks:
        if best is not None and (rows.computed(row_count) * columns.length, row_count, 1) > best:
            break  # more rows only cost more
        column_count = columns.count_within(tile_pixels // rows.largest(row_count))
        if column_count is not None:
            found = (rows.computed(row_count) * columns.computed(column_count), row_count * column_count, column_count)
            if best is None or found < best:
                best, best_rows = found, row_count
        row_count = rows.next_smaller(row_count)
    return None if best is None else (best_rows, best[2])


def _axes(height: int, width: int, halo: int, multiple: int) -> tuple[_Axis, _Axis]:
    """Both axes, padded to the multiple."""
    _check_at_least("multiple", multiple, 1)
    _check_at_least("height", height, 1)
    _check_at_least("width", width, 1)
    _check_multiple("halo", halo, multiple, least=0)
    row_length, column_length = (_ceil_div(length, multiple) * multiple for length in (height, width))
    return _Axis(row_length, halo, multiple), _Axis(column_length, halo, multiple)


def _grid(rows: _Axis, columns: _Axis, row_count: int, column_count: int) -> TilePlan:
    row_spans, column_spans = rows.split(row_count), columns.split(column_count)
    return TilePlan(rows.length, columns.length, rows.halo, row_spans, column_spans)


def _ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise OptionsError(name, value, f"an integer of at least {least}")


def _check_multiple(name: str, value: int, multiple: int, *, least: int) -> None:
    if value < least or value % multiple:
        raise OptionsError(name, value, f"a multiple of {multiple}, at least {least}")
