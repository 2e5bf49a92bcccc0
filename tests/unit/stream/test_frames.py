"""Order, back-pressure, errors, records, and that nothing is left behind."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from stream_threads import PATIENCE, Camera, threads, until

from restore_sdk.errors import OptionsError
from restore_sdk.stream.errors import StreamError
from restore_sdk.stream.frames import stream_frames


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("queue", [1, 3])
def test_frames_come_out_in_order(workers: int, queue: int) -> None:
    delays = np.random.default_rng(0).uniform(0, 0.003, 60)

    def restore(number: int) -> int:
        time.sleep(delays[number])
        return 10 * number

    with stream_frames(restore, range(60), workers=workers, queue=queue) as restored:
        assert list(restored) == [10 * number for number in range(60)]
        assert restored.dropped == 0


def test_no_frames_at_all() -> None:
    assert list(stream_frames(str, iter(()))) == []


def test_arrays_of_any_kind_pass_through() -> None:
    images = [np.full((2, 2), value, np.uint8) for value in range(3)]
    restored = list(stream_frames(lambda image: image + 1, images))
    assert [int(image[0, 0]) for image in restored] == [1, 2, 3]


def test_nothing_starts_before_the_first_frame_is_asked_for() -> None:
    stream = stream_frames(str, range(3))
    assert threads() == []
    assert next(stream) == "0"
    assert len(threads()) <= 2
    stream.close()
    assert threads() == []


@pytest.mark.parametrize(("workers", "queue"), [(1, 1), (1, 3), (3, 2)])
def test_a_slow_consumer_stops_the_source(workers: int, queue: int) -> None:
    camera = Camera(100)
    camera.give(100)
    most = 1 + queue + workers + queue + 1  # handed out, finished or in work, waiting, and one in the reader's hand
    with stream_frames(lambda number: number, camera.frames(), workers=workers, queue=queue) as restored:
        assert next(restored) == 0
        until(lambda: camera.taken == most)
        time.sleep(0.02)
        assert camera.taken == most
        assert list(restored) == list(range(1, 100))


def test_reading_and_restoring_overlap() -> None:
    """The source gives its second frame only while the first is in work."""
    in_work, second_read = threading.Event(), threading.Event()

    def frames() -> Iterator[int]:
        yield 0
        assert in_work.wait(PATIENCE)
        second_read.set()
        yield 1

    def restore(number: int) -> int:
        in_work.set()
        assert second_read.wait(PATIENCE)
        return number

    assert list(stream_frames(restore, frames())) == [0, 1]


def test_restoring_and_consuming_overlap() -> None:
    worked = threading.Event()
    with stream_frames(lambda number: worked.set() if number else None, range(2)) as restored:
        next(restored)
        assert worked.wait(PATIENCE)  # the second frame is restored while this thread has the first


def test_an_error_of_the_restorer_comes_once_after_the_frames_before_it() -> None:
    def restore(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    stream = stream_frames(restore, range(100), workers=3)
    seen = []
    with pytest.raises(StreamError, match=r"frame 3 could not be restored: ValueError: three") as caught:
        seen.extend(stream)
    assert (caught.value.frame, caught.value.stage) == (3, "restore")
    assert isinstance(caught.value.__cause__, ValueError)
    assert threads() == []
    assert list(stream) == []


def test_frames_before_an_error_are_handed_out() -> None:
    def frames() -> Iterator[int]:
        yield from range(4)
        raise OSError("unplugged")

    seen: list[int] = []
    stream = stream_frames(lambda number: number, frames(), workers=2)
    with pytest.raises(StreamError, match=r"frame 4 could not be read: OSError: unplugged") as caught:
        seen.extend(iter(stream))
    assert seen == [0, 1, 2, 3]
    assert (caught.value.frame, caught.value.stage) == (4, "read")


def test_an_error_of_ours_keeps_its_words() -> None:
    def restore(_: int) -> int:
        raise OptionsError("tile", 0, "more")

    with pytest.raises(StreamError, match=r"^frame 0 could not be restored: tile=0, expected more"):
        next(stream_frames(restore, range(1)))


def test_what_is_no_iterable_is_an_error_of_reading() -> None:
    with pytest.raises(StreamError, match=r"frame 0 could not be read: TypeError"):
        next(stream_frames(str, 5))  # type: ignore[arg-type]


@pytest.mark.parametrize("taken", [1, 5])
def test_closing_early_ends_the_threads_and_the_source(taken: int) -> None:
    camera = Camera(1000)
    camera.give(1000)
    with stream_frames(lambda number: number, camera.frames(), workers=2) as restored:
        for _ in range(taken):
            next(restored)
    assert camera.closed
    assert threads() == []
    assert list(restored) == []


def test_closing_frees_the_frames() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Frame:
        """Can be counted."""

        def __init__(self) -> None:
            alive.add(self)

    stream = stream_frames(lambda frame: frame, (Frame() for _ in range(100)), queue=4)
    next(stream)
    until(lambda: len(stream._line._ordered) > 2)
    assert len(alive) > 2
    stream.close()
    gc.collect()
    assert len(alive) == 0


def test_a_forgotten_stream_ends_by_itself() -> None:
    camera = Camera(1000)
    camera.give(1000)
    stream = stream_frames(lambda number: number, camera.frames())
    next(stream)
    del stream
    gc.collect()
    until(lambda: camera.closed)


def test_closing_twice_and_before_the_start() -> None:
    stream = stream_frames(str, range(3))
    stream.close()
    stream.close()
    assert list(stream) == []


def test_the_record_of_a_frame() -> None:
    with stream_frames(lambda number: time.sleep(0.002), range(3)) as restored:
        assert restored.record is None
        sequences = [restored.record.sequence for _ in restored if restored.record]
        assert sequences == [0, 1, 2]
        record = restored.record
    assert record is not None
    assert record.read_at <= record.restored_at <= record.handed_out_at
    stages = (record.read_ms, record.queued_ms, record.restore_ms, record.waiting_ms)
    assert all(stage >= 0 for stage in stages)
    assert record.restore_ms >= 2
    assert record.age_ms == pytest.approx(sum(stages[1:]))
    assert (record.dropped, record.reused) == (0, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"workers": True},
        {"workers": 65},
        {"workers": 10**9},
        {"queue": 0},
        {"queue": 1.5},
        {"policy": "drop"},
        {"max_age": 1.0},
        {"max_age": 0, "policy": "latest-only"},
        {"max_age": float("nan"), "policy": "latest-only"},
    ],
    ids=str,
)
def test_options_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionsError):
        stream_frames(str, range(3), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("started", [0, 1, 3])
def test_a_thread_that_cannot_be_started_ends_the_others(started: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start, count = threading.Thread.start, 0

    def limited(thread: threading.Thread) -> None:
        nonlocal count
        if count == started:
            raise RuntimeError("can't start new thread")
        count += 1
        start(thread)

    camera = Camera(1000)
    camera.give(1000)
    stream = stream_frames(lambda number: number, camera.frames(), workers=64)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        with pytest.raises(OptionsError, match=r"workers=64, expected fewer than .*can't start new thread"):
            next(stream)
    assert threads() == []
    assert list(stream) == []
    stream.close()
