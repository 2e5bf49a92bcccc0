from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_walk import FloatNCHW, box, enlarge, noise

from restore_sdk.errors import BackendError, OptionsError
from restore_sdk.tiling.pipelined import walk_many
from restore_sdk.tiling.plan import Span, TilePlan, plan_tiles

Network = Callable[[FloatNCHW], FloatNCHW]


class Pipelined:
    """Keeps `depth` batches in flight and writes down what happens."""

    def __init__(self, network: Network, depth: int) -> None:
        self.network, self.depth, self.events, self.shapes = network, depth, list[str](), list[tuple[int, ...]]()

    def infer_many(self, batches: Iterable[FloatNCHW]) -> Iterator[FloatNCHW]:
        waiting: list[FloatNCHW] = []
        try:
            for batch in batches:
                self.events.append("in")
                self.shapes.append(batch.shape)
                waiting.append(batch)
                if len(waiting) == self.depth:
                    yield self._next(waiting)
            while waiting:
                yield self._next(waiting)
        finally:
            self.events.append("closed")

    def _next(self, waiting: list[FloatNCHW]) -> FloatNCHW:
        self.events.append("out")
        return self.network(waiting.pop(0))


def run(
    backend: Pipelined, image: FloatNCHW, plan: TilePlan, *, batch: int = 1, scale: int = 1
) -> tuple[FloatNCHW, list[tuple[int, int]]]:
    canvas = np.full((1, image.shape[1], plan.height * scale, plan.width * scale), np.nan, np.float32)
    calls: list[tuple[int, int]] = []

    def read(row: Span, column: Span) -> FloatNCHW:
        return image[:, :, row.outer_slice, column.outer_slice]

    def write(row: Span, column: Span, core: FloatNCHW) -> None:
        rows = slice(row.core_start * scale, row.core_stop * scale)
        columns = slice(column.core_start * scale, column.core_stop * scale)
        assert np.isnan(canvas[:, :, rows, columns]).all(), "a pixel is written twice"
        canvas[:, :, rows, columns] = core

    walk_many(plan, read, backend.infer_many, write, batch=batch, scale=scale, on_tile=lambda *at: calls.append(at))
    return canvas, calls


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(1, 4), st.integers(1, 4))
def test_same_bits_as_the_whole_image(height: int, width: int, core: int, batch: int, depth: int) -> None:
    image = noise(height, width)
    plan = plan_tiles(height, width, core=core, halo=1, multiple=1)
    for network, scale in ((box, 1), (enlarge, 3)):
        got, calls = run(Pipelined(network, depth), image, plan, batch=batch, scale=scale)
        np.testing.assert_array_equal(got, network(image))
        assert calls == [(done, plan.count) for done in range(1, plan.count + 1)]


def test_the_next_tiles_are_read_while_earlier_ones_are_computed() -> None:
    backend = Pipelined(box, 3)
    run(backend, noise(50, 10), plan_tiles(50, 10, core=10, halo=1, multiple=1))
    assert backend.events == ["in", "in", "in", "out", "in", "out", "in", "out", "out", "out", "closed"]


def test_consecutive_tiles_of_one_shape_share_a_batch() -> None:
    """Five rows: the first and the last have one halo, those between two."""
    backend = Pipelined(box, 2)
    run(backend, noise(50, 10), plan_tiles(50, 10, core=10, halo=1, multiple=1), batch=2)
    assert backend.shapes == [(1, 2, 11, 10), (2, 2, 12, 10), (1, 2, 12, 10), (1, 2, 11, 10)]


def test_a_failure_half_way_closes_what_is_in_flight() -> None:
    backend = Pipelined(box, 2)
    plan = plan_tiles(50, 10, core=10, halo=1, multiple=1)
    written: list[int] = []

    def write(row: Span, _column: Span, _core: FloatNCHW) -> None:
        if len(written) == 2:
            raise OSError("the disk is full")
        written.append(row.core_start)

    image = noise(50, 10)
    with pytest.raises(OSError, match="full"):
        walk_many(plan, lambda row, column: image[:, :, row.outer_slice, column.outer_slice], backend.infer_many, write)
    assert written == [0, 10]
    assert backend.events[-1] == "closed"


def test_a_failure_to_read_comes_out_and_closes() -> None:
    backend = Pipelined(box, 2)

    def read(row: Span, column: Span) -> FloatNCHW:
        if row.core_start == 20:
            raise OSError("unreadable")
        return noise(row.outer, column.outer)

    with pytest.raises(OSError, match="unreadable"):
        walk_many(plan_tiles(50, 10, core=10, halo=1, multiple=1), read, backend.infer_many, lambda *_: None)
    assert backend.events == ["in", "in", "out", "closed"]


@pytest.mark.parametrize(
    ("infer_many", "words"),
    [
        (lambda batches: (batch[:, :, :-1] for batch in batches), "returned"),
        (lambda batches: (batch for batch in list(batches)[:-1]), "2 of 3 tiles"),
        (lambda batches: (batch for batch in [*batches, np.zeros((1, 2, 4, 4), np.float32)]), "returned"),
        (lambda batches: (batch[0] for batch in batches), "returned"),
    ],
)
def test_other_results_than_batches(infer_many: Callable[[Iterable[FloatNCHW]], Iterator[FloatNCHW]], words: str) -> None:
    with pytest.raises(BackendError, match=words):
        walk_many(
            plan_tiles(30, 10, core=10, halo=1, multiple=1),
            lambda row, column: noise(row.outer, column.outer),
            infer_many,
            lambda *_: None,
        )


@pytest.mark.parametrize("options", [{"batch": 0}, {"scale": 0}])
def test_options(options: dict[str, int]) -> None:
    with pytest.raises(OptionsError):
        walk_many(plan_tiles(30, 10, core=10, halo=1, multiple=1), lambda *_: noise(1, 1), iter, lambda *_: None, **options)
