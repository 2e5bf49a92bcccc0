from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_walk import FloatNCHW, box, hourglass, noise

from restore_sdk.errors import BackendError, DeviceMemoryError, TilingError
from restore_sdk.options import SMALLEST_CORE
from restore_sdk.tiling.pipelined import walk_many
from restore_sdk.tiling.plan import Span, TilePlan, plan_tiles, plan_whole
from restore_sdk.tiling.recovery import Recovery, Replan, TileCallback, Work
from restore_sdk.tiling.walk import walk

Network = Callable[[FloatNCHW], FloatNCHW]


class Memory:
    """A device that holds `room` pixels of one batch. `seen`: pixels of every batch, `failures` of those that did not fit."""

    def __init__(self, network: Network, room: int, *, of_python: bool = False) -> None:
        self.network, self.room, self._of_python = network, room, of_python
        self.seen: list[int] = []
        self.failures: list[int] = []

    def __call__(self, batch: FloatNCHW) -> FloatNCHW:
        pixels = batch[:, 0].size
        self.seen.append(pixels)
        if pixels > self.room:
            self.failures.append(pixels)
            if self._of_python:
                raise MemoryError
            raise DeviceMemoryError(4 * pixels, 4 * self.room, batch.shape[2:])
        return self.network(batch)


class Canvas:
    """One image's tiles, read and written; no pixel may be written twice."""

    def __init__(self, image: FloatNCHW) -> None:
        self.image, self.pixels = image, np.full(image.shape, np.nan, np.float32)

    def read(self, row: Span, column: Span) -> FloatNCHW:
        return self.image[:, :, row.outer_slice, column.outer_slice]

    def write(self, row: Span, column: Span, core: FloatNCHW) -> None:
        place = self.pixels[:, :, row.core_slice, column.core_slice]
        assert np.isnan(place).all(), "a finished tile is done again"
        place[...] = core

    def work(self, infer: Network) -> Work:
        def work(plan: TilePlan, batch: int, on_tile: TileCallback | None) -> None:
            walk(plan, self.read, infer, self.write, batch=batch, order=range(plan.count), on_tile=on_tile)

        return work


def replanned(image: FloatNCHW, halo: int, multiple: int) -> Replan:
    height, width = image.shape[2:]
    return lambda core: plan_tiles(height, width, core=core, halo=halo, multiple=multiple)


def test_nothing_fails() -> None:
    recovery, canvas = Recovery(), Canvas(noise(40, 30))
    plan = plan_tiles(40, 30, core=16, halo=1, multiple=1)
    calls: list[tuple[int, int]] = []
    used = recovery.run(plan, canvas.work(box), replan=None, on_tile=lambda done, total: calls.append((done, total)))
    assert used is plan
    assert recovery.report() is None
    assert calls == [(done, plan.count) for done in range(1, plan.count + 1)]
    np.testing.assert_array_equal(canvas.pixels, box(canvas.image))


@settings(deadline=None, max_examples=60)
@given(st.integers(9, 40), st.integers(9, 40), st.integers(24 * 24, 90 * 90), st.sampled_from([None, 20, 48]), st.integers(1, 3))
def test_results_have_the_bits_of_the_whole_image(rows: int, columns: int, room: int, core: int | None, batch: int) -> None:
    """Halo 4: tiles of the smallest core are 24 pixels a side, so every size fits in the end."""
    image = noise(2 * rows, 2 * columns)
    replan = replanned(image, 4, 2)
    plan = plan_whole(*image.shape[2:], multiple=2) if core is None else replan(core)
    memory, canvas, recovery = Memory(hourglass, room), Canvas(image), Recovery(2)
    calls: list[tuple[int, int]] = []
    recovery.run(plan, canvas.work(memory), replan=replan, batch=batch, on_tile=lambda *at: calls.append(at))
    np.testing.assert_array_equal(canvas.pixels, hourglass(image))
    assert [done for done, _ in calls] == list(range(1, len(calls) + 1))
    assert calls[-1][0] == calls[-1][1]
    assert (recovery.report() is not None) == bool(memory.failures)


def test_finished_tiles_are_kept_and_the_core_is_halved() -> None:
    """Cores of 32 over 96 x 32 pixels, halo 1: the ends take 33 x 32, the middle 34 x 32 = 1088 pixels, which does not fit."""
    image = noise(96, 32)
    replan = replanned(image, 1, 1)
    memory, canvas, recovery = Memory(box, 1080), Canvas(image), Recovery()
    calls: list[tuple[int, int]] = []
    used = recovery.run(replan(32), canvas.work(memory), replan=replan, on_tile=lambda *at: calls.append(at))
    np.testing.assert_array_equal(canvas.pixels, box(image))
    assert memory.seen == [33 * 32, 34 * 32] + [18 * 17] * 4 + [18 * 17, 18 * 17, 17 * 17, 17 * 17]
    assert recovery.report() == {"from": 32, "to": 16}
    assert used.count == 3
    assert calls == [(1, 3), *((done, 6) for done in range(2, 6)), *((done, 9) for done in range(6, 10))]


def test_a_backend_that_says_so_in_the_words_of_python() -> None:
    image = noise(100, 90)
    memory, canvas, recovery = Memory(box, 40 * 40, of_python=True), Canvas(image), Recovery()
    recovery.run(plan_whole(100, 90, multiple=1), canvas.work(memory), replan=replanned(image, 1, 1))
    np.testing.assert_array_equal(canvas.pixels, box(image))
    assert len(memory.failures) == 2  # the whole image, and cores of 50; those of 25 fit
    with pytest.raises(MemoryError):
        Recovery().run(plan_whole(100, 90, multiple=1), Canvas(image).work(Memory(box, 100, of_python=True)), replan=None)


def test_a_batch_of_several_is_given_up_first() -> None:
    image = noise(64, 64)
    replan = replanned(image, 1, 1)
    memory, canvas, recovery = Memory(box, 33 * 33), Canvas(image), Recovery()
    recovery.run(replan(32), canvas.work(memory), replan=replan, batch=4)
    np.testing.assert_array_equal(canvas.pixels, box(image))
    assert memory.seen == [4 * 33 * 33] + [33 * 33] * 4
    assert recovery.report() == {"from": 32, "to": 32}


def test_the_size_that_fitted_is_remembered() -> None:
    image = noise(64, 64)
    replan = replanned(image, 1, 1)
    memory, recovery = Memory(box, 40 * 40), Recovery()
    for _ in range(2):
        memory.seen.clear()
        memory.failures.clear()
        canvas = Canvas(image)
        used = recovery.run(plan_whole(64, 64, multiple=1), canvas.work(memory), replan=replan)
        np.testing.assert_array_equal(canvas.pixels, box(image))
    assert memory.failures == []
    assert used.count == 4
    small = plan_whole(40, 40, multiple=1)
    assert recovery.run(small, Canvas(noise(40, 40)).work(memory), replan=replan) is small


def test_the_floor_is_an_error() -> None:
    image = noise(64, 64)
    memory, canvas, recovery = Memory(box, 100), Canvas(image), Recovery()
    with pytest.raises(DeviceMemoryError) as caught:
        recovery.run(plan_whole(64, 64, multiple=1), canvas.work(memory), replan=replanned(image, 1, 1))
    side = SMALLEST_CORE + 1
    assert (caught.value.required, caught.value.free, caught.value.tile) == (4 * side**2, 400, (side, side))
    assert memory.seen == [64 * 64, 33 * 33, 17 * 17]
    assert recovery.report() is None


@pytest.mark.parametrize("multiple", [24, 32])
def test_the_floor_is_a_multiple(multiple: int) -> None:
    image = noise(4 * multiple, 4 * multiple)
    memory, recovery = Memory(box, 10), Recovery(multiple)
    with pytest.raises(DeviceMemoryError) as caught:
        recovery.run(
            plan_whole(4 * multiple, 4 * multiple, multiple=multiple),
            Canvas(image).work(memory),
            replan=replanned(image, 0, multiple),
        )
    assert caught.value.tile == (multiple, multiple)


def test_no_smaller_tiles_where_none_are_allowed() -> None:
    def global_network(_core: int) -> TilePlan:
        raise TilingError(["ReduceMean"], "pass tile=None")

    for replan in (None, global_network):
        memory = Memory(box, 100)
        with pytest.raises(DeviceMemoryError):
            Recovery().run(plan_whole(64, 64, multiple=1), Canvas(noise(64, 64)).work(memory), replan=replan)
        assert memory.seen == [64 * 64]


def test_other_errors_pass() -> None:
    def broken(_batch: FloatNCHW) -> FloatNCHW:
        raise BackendError("broken")

    recovery = Recovery()
    with pytest.raises(BackendError, match="broken"):
        recovery.run(plan_whole(64, 64, multiple=1), Canvas(noise(64, 64)).work(broken), replan=replanned(noise(64, 64), 1, 1))
    assert recovery.report() is None


def test_what_failed_is_let_go_before_the_next_try() -> None:
    """The error's traceback holds the tile that was read; on a full device that is the memory that is missing."""
    image = noise(64, 64)
    alive: list[weakref.ref[FloatNCHW]] = []

    def network(batch: FloatNCHW) -> FloatNCHW:
        gc.collect()
        assert all(reference() is None for reference in alive), "an earlier batch is still there"
        kept = batch.copy()
        alive.append(weakref.ref(kept))
        if batch[0, 0].size > 40 * 40:
            raise DeviceMemoryError(None, None, batch.shape[2:])
        return box(batch)

    canvas = Canvas(image)
    Recovery().run(plan_whole(64, 64, multiple=1), canvas.work(network), replan=replanned(image, 1, 1))
    np.testing.assert_array_equal(canvas.pixels, box(image))
    assert len(alive) == 5


def test_threads_recover_side_by_side() -> None:
    image, recovery = noise(64, 80), Recovery()
    replan, want = replanned(image, 1, 1), box(noise(64, 80))
    memory = Memory(box, 30 * 30)
    results: list[FloatNCHW | None] = [None] * 8

    def work(index: int) -> None:
        canvas = Canvas(image)
        recovery.run(plan_whole(64, 80, multiple=1), canvas.work(memory), replan=replan)
        results[index] = canvas.pixels

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, want)
    assert recovery.report() == {"from": 80, "to": 20}


def test_pipelined_work_recovers_too() -> None:
    image = noise(96, 96)
    replan = replanned(image, 1, 1)
    memory, canvas, recovery = Memory(box, 1000), Canvas(image), Recovery()

    def work(plan: TilePlan, batch: int, on_tile: TileCallback | None) -> None:
        walk_many(plan, canvas.read, lambda batches: map(memory, batches), canvas.write, batch=batch, on_tile=on_tile)

    recovery.run(replan(48), work, replan=replan)
    np.testing.assert_array_equal(canvas.pixels, box(image))
    assert recovery.report() == {"from": 48, "to": 24}
