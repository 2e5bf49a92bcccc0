"""What the numpy device has beyond the protocol: a log, a clock, failures that travel, counts of what is open."""

from __future__ import annotations

import threading
from time import monotonic

import pytest

from restore_sdk.cuda.numpy_device import UNWRITTEN, NumpyDevice, NumpyStream
from restore_sdk.cuda.numpy_log import LogEntry
from restore_sdk.errors import BackendError, DeviceMemoryError

PATIENCE = 60  # seconds until a test that waits for another thread gives up


def fail() -> None:
    raise ValueError("the work is at fault")


def nothing() -> None:
    """Work that takes only its delay."""


def wait_for(gate: threading.Event) -> None:
    if not gate.wait(PATIENCE):
        raise TimeoutError("nobody opened the gate")


def test_work_runs_beside_the_caller_and_in_order() -> None:
    log: list[LogEntry] = []
    gate = threading.Event()
    device = NumpyDevice(log=log)
    with device.stream() as stream, device.event() as event:
        stream.queue("held", 7, lambda: wait_for(gate))
        stream.queue("next", 8, nothing)
        stream.record(event)
        assert not event.done
        assert log == []
        gate.set()
        stream.synchronize()
        assert event.done
    assert [(entry.operation, entry.what, entry.start, entry.end) for entry in log] == [("held", 7, 0, 1), ("next", 8, 2, 3)]


def test_two_streams_overlap() -> None:
    """Each waits for the other to have started: one worker could not do that."""
    device = NumpyDevice()
    gates = threading.Event(), threading.Event()

    def meet(mine: int) -> None:
        gates[mine].set()
        wait_for(gates[1 - mine])

    with device.stream() as first, device.stream() as second:
        first.queue("meet", 0, lambda: meet(0))
        second.queue("meet", 1, lambda: meet(1))
        first.synchronize()
        second.synchronize()


def test_a_wait_is_for_the_record_before_it() -> None:
    log: list[LogEntry] = []
    gate = threading.Event()
    device = NumpyDevice(log=log)
    with device.stream() as first, device.stream() as second, device.event() as event:
        second.wait(event)  # never recorded: nothing to wait for
        second.queue("free", 0, nothing)
        second.synchronize()
        first.queue("slow", 0, lambda: wait_for(gate))
        first.record(event)
        second.wait(event)
        second.queue("after", 0, nothing)
        gate.set()
        second.synchronize()
    assert [entry.operation for entry in log] == ["free", "slow", "after"]


def test_the_clock_adds_up_delays_and_waits_but_no_host_time() -> None:
    log: list[LogEntry] = []
    device = NumpyDevice(delays={"long": 5.0, "short": 2.0}, log=log)
    with device.stream() as first, device.stream() as second, device.event() as event:
        first.queue("long", 0, nothing)
        first.record(event)
        second.queue("short", 1, nothing)
        second.wait(event)
        second.queue("short", 2, nothing)
        second.synchronize()
        assert device.clock == 7.0
        first.queue("short", 3, nothing)  # queued only now: the host had to wait for the second stream
        first.synchronize()
    spans = {(entry.operation, entry.what): (entry.began, entry.ended) for entry in log}
    assert spans == {("long", 0): (0, 5), ("short", 1): (0, 2), ("short", 2): (5, 7), ("short", 3): (7, 9)}


def test_delays_are_real_where_asked() -> None:
    device = NumpyDevice(delays={"work": 0.02}, sleeping=True)
    with device.stream() as stream:
        before = monotonic()
        stream.queue("work", 0, nothing)
        stream.synchronize()
        assert monotonic() - before >= 0.02


def test_a_failure_is_told_by_the_event_behind_it_and_ends_there() -> None:
    ran: list[str] = []
    device = NumpyDevice()
    with device.stream() as stream, device.event() as failed, device.event() as fine:
        stream.queue("fails", 0, fail)
        stream.queue("skipped", 0, lambda: ran.append("skipped"))
        stream.record(failed)
        stream.queue("runs", 0, lambda: ran.append("runs"))
        stream.record(fine)
        fine.synchronize()
        with pytest.raises(BackendError, match="the work is at fault") as caught:
            failed.synchronize()
        assert isinstance(caught.value.__cause__, ValueError)
        stream.synchronize()
    assert ran == ["runs"]


def test_a_failure_reaches_the_streams_that_wait_for_it() -> None:
    ran: list[str] = []
    device = NumpyDevice()
    with device.stream() as first, device.stream() as second, device.event() as event:
        first.queue("fails", 0, fail)
        first.record(event)
        second.wait(event)
        second.queue("skipped", 0, lambda: ran.append("skipped"))
        with pytest.raises(BackendError):
            second.synchronize()
        second.synchronize()
    assert ran == []


def test_new_memory_holds_no_zeros() -> None:
    device = NumpyDevice()
    with device.buffer(10) as buffer, device.pinned(10) as pinned:
        assert set(buffer.array) == set(pinned.array) == {UNWRITTEN}


def test_memory_used_after_close_is_an_error() -> None:
    device = NumpyDevice()
    gate = threading.Event()
    with device.stream() as stream, device.pinned(10) as pinned:
        buffer = device.buffer(10)
        stream.queue("held", 0, lambda: wait_for(gate))
        stream.copy_in(buffer, pinned, 10)
        buffer.close()
        gate.set()
        with pytest.raises(BackendError, match=r"after close\(\)"):
            stream.synchronize()


def test_what_is_open_is_counted() -> None:
    device = NumpyDevice(total=100)
    with device.buffer(60), device.pinned(60), device.stream(), device.event():
        assert device.memory() == (40, 100)
        assert {kind for kind, number in device.live.items() if number == 1} == {"buffer", "pinned", "stream", "event"}
        with pytest.raises(DeviceMemoryError) as caught:
            device.buffer(41)
        assert (caught.value.required, caught.value.free) == (41, 40)
    assert device.memory() == (100, 100)
    assert set(device.live.values()) == {0}


def test_a_graph_keeps_the_names_of_its_steps() -> None:
    log: list[LogEntry] = []
    device = NumpyDevice(log=log)
    with device.stream() as stream, device.stream() as other:

        def work() -> None:
            stream.queue("one", 1, nothing)
            stream.queue("two", 2, nothing)

        with stream.capture(work) as graph:
            assert device.live["graph"] == 1
            graph.launch(other)
            other.synchronize()
        assert device.live["graph"] == 0
    assert [(entry.operation, entry.what) for entry in log] == [("one", 1), ("two", 2)]


def test_marks_inside_a_capture_are_refused() -> None:
    device = NumpyDevice()
    with device.stream() as stream, device.event() as event:
        with pytest.raises(BackendError, match="capture"):
            stream.capture(lambda: stream.record(event))
        assert isinstance(stream, NumpyStream)
        stream.record(event)
        event.synchronize()
