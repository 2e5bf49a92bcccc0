from __future__ import annotations

from fractions import Fraction
from math import isqrt, prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_sdk.errors import OptionsError
from restore_sdk.spec import LARGEST_SIDE
from restore_sdk.tiling.plan import Span, TilePlan, _Axis, _fewest_pixels, plan_tiles, plan_whole, plan_within, split_axis


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """length, count, halo, multiple"""
    multiple = draw(st.integers(1, 9))
    blocks = draw(st.integers(1, 150))
    return blocks * multiple, draw(st.integers(1, blocks)), draw(st.integers(0, 20)) * multiple, multiple


def test_a_cut_axis_by_hand() -> None:
    assert split_axis(40, 3, 4, 4) == (Span(0, 16, 0, 20), Span(16, 28, 12, 32), Span(28, 40, 24, 40))


def test_longer_cores_lie_at_the_two_ends() -> None:
    assert [span.core for span in split_axis(17 * 8, 5, 8, 8)] == [32, 24, 24, 24, 32]
    assert [span.core for span in split_axis(18 * 8, 5, 8, 8)] == [32, 32, 24, 24, 32]


def test_a_halo_stops_at_the_border() -> None:
    assert [(span.outer_start, span.outer_stop) for span in split_axis(12, 3, 8, 4)] == [(0, 12), (0, 12), (0, 12)]


def test_lengths_and_slices_of_a_span() -> None:
    span = Span(16, 28, 12, 32)
    assert (span.core, span.outer) == (12, 20)
    assert (span.core_slice, span.outer_slice) == (slice(16, 28), slice(12, 32))


@settings(deadline=None)
@given(axes())
def test_cores_partition_the_axis_evenly_on_multiples(axis: tuple[int, int, int, int]) -> None:
    length, count, halo, multiple = axis
    spans = split_axis(length, count, halo, multiple)
    assert len(spans) == count
    assert [span.core_start for span in spans] == [0, *(span.core_stop for span in spans[:-1])]
    assert spans[-1].core_stop == length
    lengths = {span.core for span in spans}
    assert min(lengths) > 0
    assert max(lengths) - min(lengths) in (0, multiple)
    assert all(value % multiple == 0 for span in spans for value in (span.core_start, span.outer_start, span.outer_stop))


@settings(deadline=None)
@given(axes())
def test_outer_is_the_core_and_its_halo_within_the_image(axis: tuple[int, int, int, int]) -> None:
    length, count, halo, multiple = axis
    for span in split_axis(length, count, halo, multiple):
        assert span.outer_start == max(0, span.core_start - halo)
        assert span.outer_stop == min(length, span.core_stop + halo)


@settings(deadline=None)
@given(axes())
def test_overlap_follows_the_formula_when_no_core_is_shorter_than_the_halo(axis: tuple[int, int, int, int]) -> None:
    length, count, halo, multiple = axis
    spans = split_axis(length, count, halo, multiple)
    formula = length + 2 * halo * (count - 1)
    computed = sum(span.outer for span in spans)
    assert computed == formula if min(span.core for span in spans) >= halo else computed <= formula


@settings(deadline=None)
@given(axes(), axes())
def test_computed_pixels_are_the_product_of_the_formulas(
    rows: tuple[int, int, int, int], columns: tuple[int, int, int, int]
) -> None:
    multiple, halo = rows[3], rows[2]
    height, width = rows[0], columns[0]
    plan = plan_tiles(height, width, core=max(halo, multiple) * 2, halo=halo, multiple=multiple)
    if min(span.core for span in (*plan.rows, *plan.columns)) < halo:
        return
    factors = [
        1 + Fraction(2 * halo * (len(spans) - 1), length)
        for spans, length in ((plan.rows, plan.height), (plan.columns, plan.width))
    ]
    assert plan.computed_pixels == plan.height * plan.width * prod(factors)
    assert plan.overhead == pytest.approx(float(prod(factors)))


def test_the_measured_figures_of_a_2048_pixel_axis() -> None:
    overheads = [plan_tiles(2048, 2048, core=512, halo=halo, multiple=8).overhead for halo in (16, 32, 72)]
    assert overheads == pytest.approx([(1 + 6 * halo / 2048) ** 2 for halo in (16, 32, 72)])
    assert [round(overhead, 3) for overhead in overheads] == [1.096, 1.196, 1.466]


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 99), st.integers(0, 5), st.integers(1, 8))
def test_plan_tiles_needs_the_fewest_cores_of_the_size_asked(
    height: int, width: int, core: int, halo: int, multiple: int
) -> None:
    plan = plan_tiles(height, width, core=core, halo=halo * multiple, multiple=multiple)
    assert 0 <= plan.height - height < multiple
    assert plan.height % multiple == 0
    usable = max(multiple, core // multiple * multiple)
    for spans, length in ((plan.rows, plan.height), (plan.columns, plan.width)):
        assert max(span.core for span in spans) <= usable
        assert len(spans) == -(-length // usable)
    assert plan.count == len(list(plan.tiles)) == len(plan.rows) * len(plan.columns)


def test_tiles_come_row_by_row() -> None:
    plan = plan_tiles(8, 12, core=4, halo=0, multiple=4)
    assert [(row.core_start, column.core_start) for row, column in plan.tiles] == [(0, 0), (0, 4), (0, 8), (4, 0), (4, 4), (4, 8)]


def test_the_whole_image_is_one_padded_tile() -> None:
    plan = plan_whole(13, 8, multiple=8)
    assert plan == TilePlan(16, 8, 0, (Span(0, 16, 0, 16),), (Span(0, 8, 0, 8),))
    assert (plan.count, plan.computed_pixels, plan.overhead, plan.largest_tile) == (1, 128, 1.0, (16, 8))


def _best_by_trying_all(height: int, width: int, tile_pixels: int, halo: int, multiple: int) -> tuple[int, int] | None:
    """(computed pixels, tiles) of the best grid, halos counted in full."""

    def choices(length: int) -> list[tuple[int, int, int]]:
        found = []
        for count in range(1, length // multiple + 1):
            cores = [span.core for span in split_axis(length, count, halo, multiple)]
            sides = [(index > 0) + (index < count - 1) for index in range(count)]
            outers = [core + halo * side for core, side in zip(cores, sides, strict=True)]
            found.append((count, max(outers), sum(outers)))
        return found

    grids = [
        (row_sum * column_sum, rows * columns)
        for rows, row_outer, row_sum in choices(height)
        for columns, column_outer, column_sum in choices(width)
        if row_outer * column_outer <= tile_pixels
    ]
    return min(grids, default=None)


@settings(deadline=None)
@given(st.integers(1, 18), st.integers(1, 18), st.integers(1, 3000), st.integers(0, 4), st.integers(1, 4))
def test_plan_within_finds_what_trying_all_grids_finds(rows: int, columns: int, pixels: int, halo: int, multiple: int) -> None:
    height, width, halo = rows * multiple, columns * multiple, halo * multiple
    plan = plan_within(height, width, tile_pixels=pixels, halo=halo, multiple=multiple)
    best = _best_by_trying_all(height, width, pixels, halo, multiple)
    if best is None:
        assert plan.largest_tile == (min(height, multiple + 2 * halo), min(width, multiple + 2 * halo))
        return
    assert prod(plan.largest_tile) <= pixels
    assert prod(length + 2 * halo * (len(spans) - 1) for length, spans in ((height, plan.rows), (width, plan.columns))) == best[0]
    assert plan.count == best[1]


def test_plan_within_takes_the_whole_image_where_it_fits() -> None:
    assert plan_within(100, 100, tile_pixels=104 * 104, halo=16, multiple=8).count == 1
    assert plan_within(100, 100, tile_pixels=104 * 104 - 1, halo=16, multiple=8).count == 2


def test_plan_within_breaks_ties_by_fewer_tiles() -> None:
    plan = plan_within(64, 64, tile_pixels=2048, halo=0, multiple=1)
    assert (len(plan.rows), len(plan.columns)) == (2, 1)


def test_plan_within_bounds_a_huge_image() -> None:
    plan = plan_within(100_000, 100_000, tile_pixels=1_000_000, halo=32, multiple=4)
    assert prod(plan.largest_tile) <= 1_000_000
    assert plan.overhead < 1.15


def _trying_every_count_of_rows(rows: _Axis, columns: _Axis, tile_pixels: int) -> tuple[int, int] | None:
    """(rows, columns) by the same order of preference, without leaving any count out."""
    found = []
    for count in range(1, rows.blocks + 1):
        column_count = columns.count_within(tile_pixels // rows.largest(count))
        if column_count is not None:
            computed = rows.computed(count) * columns.computed(column_count)
            found.append(((computed, count * column_count, column_count), count))
    return (min(found)[1], min(found)[0][2]) if found else None


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 40_000), st.integers(0, 9), st.integers(1, 8))
def test_the_counts_that_are_not_tried_would_not_be_taken(rows: int, columns: int, pixels: int, halo: int, multiple: int) -> None:
    axes = [_Axis(blocks * multiple, halo * multiple, multiple) for blocks in (rows, columns)]
    assert _fewest_pixels(*axes, pixels) == _trying_every_count_of_rows(*axes, pixels)


@pytest.mark.parametrize(("halo", "multiple"), [(0, 1), (1, 1), (32, 1), (64, 8)])
@pytest.mark.parametrize("tile_pixels", [1, 20_000, 260_000, 10**8])
@pytest.mark.parametrize("sides", [(LARGEST_SIDE, LARGEST_SIDE), (8, LARGEST_SIDE), (LARGEST_SIDE, 8)])
def test_the_search_takes_few_steps_for_any_size(
    sides: tuple[int, int], tile_pixels: int, halo: int, multiple: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    largest = _Axis.largest

    def counted(axis: _Axis, count: int) -> int:
        nonlocal steps
        steps += 1
        return largest(axis, count)

    monkeypatch.setattr(_Axis, "largest", counted)
    _fewest_pixels(*(_Axis(side, halo, multiple) for side in sides), tile_pixels)
    assert steps <= 8 * isqrt(sides[0] // multiple) + 8  # of some microseconds


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("halo", lambda: split_axis(16, 2, 3, 4)),
        ("halo", lambda: split_axis(16, 2, -4, 4)),
        ("length", lambda: split_axis(15, 2, 4, 4)),
        ("length", lambda: split_axis(0, 1, 4, 4)),
        ("count", lambda: split_axis(16, 5, 4, 4)),
        ("count", lambda: split_axis(16, 0, 4, 4)),
        ("multiple", lambda: split_axis(16, 1, 0, 0)),
        ("core", lambda: plan_tiles(16, 16, core=0, halo=4, multiple=4)),
        ("halo", lambda: plan_tiles(16, 16, core=8, halo=5, multiple=4)),
        ("height", lambda: plan_whole(0, 16, multiple=4)),
        ("width", lambda: plan_whole(16, 0, multiple=4)),
        ("multiple", lambda: plan_whole(16, 16, multiple=0)),
        ("tile_pixels", lambda: plan_within(16, 16, tile_pixels=0, halo=4, multiple=4)),
        ("halo", lambda: plan_within(16, 16, tile_pixels=64, halo=3, multiple=4)),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(name: str, call: object) -> None:
    with pytest.raises(OptionsError, match="expected") as caught:
        call()  # type: ignore[operator]
    assert caught.value.name == name
