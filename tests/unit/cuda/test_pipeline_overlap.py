"""Stages of different batches run at the same time: read from the recorded order and the device's own clock."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from host_network import HostNetwork, batches
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_sdk.cuda.numpy_device import NumpyDevice
from restore_sdk.cuda.numpy_log import LogEntry
from restore_sdk.cuda.pipeline import Pipeline

PATIENCE = 60  # seconds until a test that waits for another thread gives up
STAGES = ("copy_in", "infer", "copy_out")


def recorded(count: int, slots: int, delays: Sequence[float], network: HostNetwork | None = None) -> dict[str, list[LogEntry]]:
    """The log of `count` batches by stage; the n-th entry of each is batch n, for every stream works in order."""
    log: list[LogEntry] = []
    device = NumpyDevice(delays=dict(zip(STAGES, delays, strict=True)), log=log)
    with Pipeline(device, network or HostNetwork(), slots=slots) as pipeline:
        assert len(list(pipeline.run(batches(count)))) == count
    return {stage: [entry for entry in log if entry.operation == stage] for stage in STAGES}


def length(stages: dict[str, list[LogEntry]]) -> float:
    return max(entry.ended for entries in stages.values() for entry in entries)


@pytest.mark.parametrize("delays", [(1, 3, 1), (4, 1, 1), (1, 1, 5), (2, 2, 2)])
def test_many_batches_take_the_longest_stage_each_not_the_sum(delays: tuple[int, int, int]) -> None:
    count = 20
    stages = recorded(count, 3, delays)
    longest = max(delays)
    assert length(stages) == count * longest + sum(delays) - longest  # the pipe fills and empties once
    assert length(stages) < count * sum(delays)


def test_one_slot_takes_the_sum() -> None:
    assert length(recorded(6, 1, (1, 3, 2))) == 6 * (1 + 3 + 2)


def test_the_next_copy_in_starts_before_the_inference_ends() -> None:
    stages = recorded(12, 3, (1, 3, 1))
    for number in range(11):
        assert stages["copy_in"][number + 1].began < stages["infer"][number].ended
        assert stages["copy_out"][number].ended <= stages["infer"][number + 1].ended


def test_it_does_so_on_real_threads() -> None:
    """Inference n ends only after copy-in n + 1 and copy-out n - 1: a pipeline that takes turns would hang."""
    count = 8
    log: list[LogEntry] = []

    def ended(stage: str) -> int:
        return sum(entry.operation == stage for entry in log)

    def overlapped(number: int) -> None:
        wanted = min(number + 2, count), number
        waiting = threading.Event()
        for _ in range(PATIENCE * 1000):
            if ended("copy_in") >= wanted[0] and ended("copy_out") >= wanted[1]:
                return
            waiting.wait(0.001)
        raise TimeoutError(f"inference {number}: {ended('copy_in')} copies in and {ended('copy_out')} out, wanted {wanted}")

    with Pipeline(NumpyDevice(log=log), HostNetwork(on_infer=overlapped), slots=3) as pipeline:
        assert len(list(pipeline.run(batches(count)))) == count
    starts = {stage: [entry for entry in log if entry.operation == stage] for stage in STAGES}
    for number in range(count - 1):
        assert starts["copy_in"][number + 1].start < starts["infer"][number].end


@given(
    count=st.integers(1, 12),
    slots=st.integers(1, 5),
    delays=st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)),
    capturable=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_stages_follow_one_another_and_slots_are_free_before_they_are_filled(
    count: int, slots: int, delays: tuple[int, int, int], capturable: bool
) -> None:
    stages = recorded(count, slots, delays, HostNetwork(capturable=capturable))
    copy_in, infer, copy_out = (stages[stage] for stage in STAGES)
    assert [len(entries) for entries in (copy_in, infer, copy_out)] == [count] * 3
    for number in range(count):
        assert copy_in[number].end < infer[number].start
        assert infer[number].end < copy_out[number].start
    filled: dict[int, int] = {}  # device buffer of the input -> the batch that used it last
    for number, entry in enumerate(copy_in):
        if entry.what in filled:
            assert copy_out[filled[entry.what]].end < entry.start
        filled[entry.what] = number
    assert len(filled) == min(slots, count)
    assert length(stages) <= count * sum(delays)
