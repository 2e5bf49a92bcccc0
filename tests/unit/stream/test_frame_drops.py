"""Cameras: which frames are dropped, and when a frame is too old."""

from __future__ import annotations

import threading
import time
from typing import Literal

import pytest
from stream_threads import PATIENCE, Camera, until

from restore_sdk.stream.frames import stream_frames
from restore_sdk.stream.line import Job, Line


@pytest.mark.parametrize(
    ("policy", "kept", "dropped"),
    [("drop-oldest", [0, 7, 8, 9], 6), ("latest-only", [0, 9], 8)],  # 1 to 9 come while 0 is in work; three fit, or one
)
def test_the_newest_frames_are_kept(policy: Literal["drop-oldest", "latest-only"], kept: list[int], dropped: int) -> None:
    camera, go_on = Camera(10), threading.Event()
    seen, records = [], []

    def restore(number: int) -> int:
        assert go_on.wait(PATIENCE)
        return number

    def consume() -> None:
        for number in restored:
            seen.append(number)
            records.append(restored.record)

    camera.give(1)
    with stream_frames(restore, camera.frames(), queue=3, policy=policy) as restored:
        consumer = threading.Thread(target=consume)
        consumer.start()
        until(lambda: camera.taken == 1 and not restored._line._waiting)
        camera.give(9)
        until(lambda: camera.closed)
        go_on.set()
        consumer.join(PATIENCE)
        assert seen == kept
        assert [(record.sequence, record.dropped) for record in records if record] == [(number, dropped) for number in kept]
        assert restored.dropped == dropped


def test_a_frame_that_waited_too_long_is_not_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    camera, worked = Camera(3), []

    def restore(number: int) -> int:
        worked.append(number)
        return number

    with stream_frames(restore, camera.frames(), policy="drop-oldest", max_age=1000.0) as restored:
        camera.give(1)
        assert next(restored) == 0
        age = restored._line._is_old
        monkeypatch.setattr(restored._line, "_is_old", lambda job: job.sequence == 1 or age(job))
        camera.give(2)
        assert list(restored) == [2]
        assert worked == [0, 2]
        assert restored.dropped == 1


def test_a_finished_frame_is_too_old_only_if_nobody_waited_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera(3)
    with stream_frames(lambda number: number, camera.frames(), policy="latest-only", max_age=1000.0) as restored:
        line = restored._line
        monkeypatch.setattr(line, "_is_old", lambda job: job.finished_at > 0)
        first: list[int] = []
        consumer = threading.Thread(target=lambda: first.append(next(restored)))
        consumer.start()
        camera.give()
        consumer.join(PATIENCE)
        assert first == [0]
        camera.give()
        until(lambda: bool(line._ordered) and line._ordered[0].finished_at > 0)
        camera.give()
        assert list(restored) in ([2], [])  # 2 is there as soon as 1 is dropped, before or after the consumer waits again
        assert restored.dropped in (1, 2)


def test_age_is_counted_from_reading() -> None:
    line: Line[int, int] = Line(2, 2, drops=True, max_age=10.0)
    now = time.perf_counter()
    line.put(Job(0, 0, now - 60, now - 50))
    line.put(Job(1, 1, now, now))
    line.end()
    job = line.take()
    assert job is not None
    assert (job.sequence, line.dropped) == (1, 1)
