"""Batches through the pipeline on the numpy device: results, buffers, graphs, many callers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from host_network import HostNetwork, batches
from hypothesis import given, settings
from hypothesis import strategies as st
from on_threads import on_threads

from restore_sdk.cuda.numpy_device import NumpyDevice
from restore_sdk.cuda.pipeline import Pipeline
from restore_sdk.errors import BackendError, OptionsError

SHAPES = st.lists(st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 12), st.integers(1, 12)), max_size=9)


@given(shapes=SHAPES, slots=st.integers(1, 4), scale=st.integers(1, 2), capturable=st.booleans(), callers=st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_every_batch_comes_back_in_order(
    shapes: list[tuple[int, int, int, int]], slots: int, scale: int, capturable: bool, callers: int
) -> None:
    given_batches = [np.random.default_rng(number).random(shape, np.float32) for number, shape in enumerate(shapes)]
    device, network = NumpyDevice(), HostNetwork(scale=scale, capturable=capturable)
    with Pipeline(device, network, slots=slots) as pipeline:
        runs = [pipeline.run(given_batches) for _ in range(callers)]
        for results in zip(given_batches, *runs, strict=True):
            batch, *restored = results
            for result in restored:
                assert np.array_equal(result, network.expected(batch))
    assert set(device.live.values()) <= {0}


def test_results_are_the_callers_own() -> None:
    with Pipeline(NumpyDevice(), HostNetwork(), slots=2) as pipeline:
        first, *rest = pipeline.run(batches(4))
        kept = first.copy()
        first[:] = -1
        again = next(pipeline.run(batches(1)))
        assert np.array_equal(again, kept)
        assert not any(np.shares_memory(first, other) for other in rest)


def test_batches_need_not_be_contiguous() -> None:
    image = np.random.default_rng(0).random((1, 8, 10, 3), np.float32)
    batch = image.transpose(0, 3, 1, 2)[:, :, ::-1]
    network = HostNetwork()
    with Pipeline(NumpyDevice(), network) as pipeline:
        assert np.array_equal(next(pipeline.run([batch])), network.expected(batch))


@pytest.mark.parametrize(
    "batch",
    [np.zeros((3, 8, 8), np.float32), np.zeros((1, 3, 8, 8)), np.zeros((0, 3, 8, 8), np.float32), [[1.0]]],
    ids=["three axes", "float64", "empty", "a list"],
)
def test_anything_but_a_float32_batch_is_refused(batch: object) -> None:
    with Pipeline(NumpyDevice(), HostNetwork()) as pipeline:
        with pytest.raises(OptionsError, match="float32 array"):
            list(pipeline.run([batch]))  # type: ignore[list-item]
        assert len(list(pipeline.run(batches(4)))) == 4


def test_no_slots_are_refused() -> None:
    with pytest.raises(OptionsError):
        Pipeline(NumpyDevice(), HostNetwork(), slots=0)


def test_no_more_batches_are_taken_than_there_are_slots() -> None:
    taken: list[int] = []

    def source() -> Iterator[np.ndarray]:
        for number, batch in enumerate(batches(6)):
            taken.append(number)
            yield batch

    with Pipeline(NumpyDevice(), HostNetwork(), slots=3) as pipeline:
        results = pipeline.run(source())
        assert taken == []
        for count in (3, 4, 5, 6, 6, 6):
            next(results)
            assert len(taken) == count


def test_buffers_grow_to_the_largest_batch_and_are_used_again() -> None:
    device, network = NumpyDevice(), HostNetwork(scale=2)
    with Pipeline(device, network, slots=2) as pipeline:
        for size in (4, 8, 4, 6):
            list(pipeline.run(batches(4, 1, 3, size, size)))
        largest = 4 * 3 * 8 * 8
        assert pipeline.report()["device_bytes"] == pipeline.report()["pinned_bytes"] == 2 * (largest + 4 * largest)
        assert device.used == 2 * 5 * largest
        assert (device.live["buffer"], device.live["pinned"]) == (4, 4)
    assert len(set(network.pointers[4:])) == 2  # the same pair of slots with the same memory since the largest batch


def test_a_wide_batch_after_a_deep_one_keeps_room_for_both() -> None:
    """Input and output grow each for itself."""

    class Folding(HostNetwork):
        def output_shape(self, shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
            return shape if shape[2] > 2 else (shape[0], shape[1], shape[2] * 4, shape[3])

        def expected(self, batch: np.ndarray) -> np.ndarray:
            return batch if batch.shape[2] > 2 else batch.repeat(4, 2)

    device, network = NumpyDevice(), Folding()
    with Pipeline(device, network, slots=1) as pipeline:
        for shape in ((1, 3, 8, 8), (1, 3, 2, 20), (1, 3, 8, 8)):
            (batch,) = batches(1, *shape)
            assert np.array_equal(next(pipeline.run([batch])), network.expected(batch))
        assert device.used == 4 * 3 * 8 * 8 + 4 * 3 * 8 * 20


def test_a_graph_per_slot_replays_a_repeated_shape() -> None:
    device, network = NumpyDevice(), HostNetwork(capturable=True)
    with Pipeline(device, network, slots=2) as pipeline:
        for batch, result in zip(batches(8), pipeline.run(batches(8)), strict=True):
            assert np.array_equal(result, network.expected(batch))
        assert (network.queued, network.inferred) == (4, 8)  # per slot: one plain, one captured
        assert (device.live["graph"], pipeline.report()["graph_launches"]) == (2, 6)
        list(pipeline.run(batches(8, 1, 3, 16, 16)))  # larger: other buffers, so other graphs
        assert (device.live["graph"], pipeline.report()["graph_launches"]) == (2, 12)
        list(pipeline.run(batches(1, 1, 3, 4, 4)))  # one slot runs another shape in the same buffers: its graph is gone
        assert device.live["graph"] == 1


def test_no_graph_where_the_network_says_so() -> None:
    device, network = NumpyDevice(), HostNetwork(capturable=False)
    with Pipeline(device, network, slots=2) as pipeline:
        list(pipeline.run(batches(8)))
        assert (network.queued, pipeline.report()["graph_launches"], pipeline.report()["graph_refused"]) == (8, 0, None)


def test_work_that_cannot_be_captured_runs_plainly_and_the_report_says_why() -> None:
    class Marking(HostNetwork):
        def enqueue(self, slot, given, restored, shape, stream):  # type: ignore[no-untyped-def]
            with device.event() as event:
                stream.record(event)
            super().enqueue(slot, given, restored, shape, stream)

    device = NumpyDevice()
    network = Marking(capturable=True)
    with Pipeline(device, network, slots=1) as pipeline:
        for batch, result in zip(batches(4), pipeline.run(batches(4)), strict=True):
            assert np.array_equal(result, network.expected(batch))
        assert pipeline.report()["graph_launches"] == 0
        assert "graph" in str(pipeline.report()["graph_refused"])


def test_closing_the_results_early_leaks_nothing() -> None:
    device = NumpyDevice()
    with Pipeline(device, HostNetwork(), slots=3) as pipeline:
        for _ in range(5):
            results = pipeline.run(batches(9))
            next(results)
            results.close()
        assert (device.live["buffer"], device.live["stream"]) == (6, 3)
        assert len(list(pipeline.run(batches(5)))) == 5
    assert set(device.live.values()) == {0}


def test_a_closed_pipeline_refuses_batches() -> None:
    device = NumpyDevice()
    pipeline = Pipeline(device, HostNetwork())
    pipeline.close()
    pipeline.close()
    assert set(device.live.values()) == {0}
    with pytest.raises(BackendError, match="closed"):
        next(pipeline.run(batches(1)))


def test_close_waits_and_what_was_finished_can_still_be_taken() -> None:
    device, network = NumpyDevice(), HostNetwork()
    pipeline = Pipeline(device, network, slots=2)
    given_batches = batches(4)
    results = pipeline.run(given_batches)
    assert np.array_equal(next(results), network.expected(given_batches[0]))
    pipeline.close()
    assert set(device.live.values()) == {0}
    assert np.array_equal(next(results), network.expected(given_batches[1]))
    with pytest.raises(BackendError, match="closed"):
        next(results)


def test_many_threads_get_what_one_gets() -> None:
    network = HostNetwork(capturable=True)
    wrong: list[int] = []
    with Pipeline(NumpyDevice(), network, slots=2) as pipeline:

        def work(seed: int) -> None:
            given_batches = [batch for size in (4, 6, 4) for batch in batches(5, 1, 3, size, size, seed=seed)]
            for batch, result in zip(given_batches, pipeline.run(given_batches), strict=True):
                if not np.array_equal(result, network.expected(batch)):
                    wrong.append(seed)

        on_threads(work)
    assert wrong == []


def test_a_caller_that_stops_taking_results_holds_up_nobody() -> None:
    network = HostNetwork()
    with Pipeline(NumpyDevice(), network, slots=2) as pipeline:
        paused_batches = batches(5)
        paused = pipeline.run(paused_batches)
        first = next(paused)
        assert len(list(pipeline.run(batches(6, seed=1)))) == 6
        for batch, result in zip(paused_batches, [first, *paused], strict=True):
            assert np.array_equal(result, network.expected(batch))
