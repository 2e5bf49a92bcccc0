"""What the threads of one stream share: frames that wait, frames in work, and who may go on.

At most `waiting` frames wait for a worker and at most `ahead` are in work or finished but not yet handed out, so memory is
bounded whatever the consumer does. Frames leave in the order in which they came.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from restore_sdk.stream.errors import Stage

Given = TypeVar("Given")
Restored = TypeVar("Restored")


@dataclass(slots=True, eq=False)
class Job(Generic[Given, Restored]):
    """One frame on its way. Times are seconds of time.perf_counter()."""

    sequence: int
    frame: Given | None
    asked_at: float
    read_at: float
    taken_at: float = 0.0
    finished_at: float = 0.0  # 0.0: not finished
    result: Restored | None = None
    error: BaseException | None = None
    stage: Stage = "restore"
    reused: float | None = None


class Line(Generic[Given, Restored]):
    """Any thread may call any method. After stop() nothing waits any more.

    drops    a full line drops its oldest waiting frame; otherwise put() waits
    max_age  seconds; a waiting frame that is older is dropped, and so is a finished one that nobody waited for
    """

    def __init__(self, waiting: int, ahead: int, *, drops: bool, max_age: float | None) -> None:
        self._limit, self._ahead, self._drops, self._max_age = waiting, ahead, drops, max_age
        self._waiting: deque[Job[Given, Restored]] = deque()
        self._ordered: deque[Job[Given, Restored]] = deque()
        self._failure: Job[Given, Restored] | None = None
        self._ended = self._stopped = False
        self._changed = threading.Condition()
        self.dropped = 0

    def put(self, job: Job[Given, Restored]) -> bool:
        """Let a frame wait for a worker. False: nobody wants any more."""
        with self._changed:
            if self._drops:
                while len(self._waiting) >= self._limit:
                    self._drop_oldest()
            else:
                self._changed.wait_for(lambda: self._stopped or len(self._waiting) < self._limit)
            if self._stopped:
                return False
            self._waiting.append(job)
            self._changed.notify_all()
            return True

    def end(self, failure: Job[Given, Restored] | None = None) -> None:
        """No more frames come; `failure` is handed out after those that did."""
        with self._changed:
            self._ended, self._failure = True, failure
            self._changed.notify_all()

    def take(self) -> Job[Given, Restored] | None:
        """The next frame to work on; None: there will be none."""
        with self._changed:
            while True:
                self._changed.wait_for(self._can_take)
                if self._stopped or not self._waiting:
                    return None
                job = self._waiting.popleft()
                self._changed.notify_all()
                if not self._is_old(job):
                    break
                self.dropped += 1
            job.taken_at = time.perf_counter()
            self._ordered.append(job)
            return job

    def done(self, job: Job[Given, Restored]) -> None:
        """A job that take() gave has its result or its error."""
        with self._changed:
            job.finished_at = time.perf_counter()
            self._changed.notify_all()

    def next(self, asked_at: float) -> Job[Given, Restored] | None:
        """The next job in order, as soon as it is finished; None at the end. What was finished before `asked_at` can be old."""
        with self._changed:
            while True:
                self._changed.wait_for(self._can_give)
                if self._stopped:
                    return None
                if not self._ordered:
                    failure, self._failure = self._failure, None
                    return failure
                job = self._ordered.popleft()
                self._changed.notify_all()
                if job.error is not None or job.finished_at > asked_at or not self._is_old(job):
                    return job
                self.dropped += 1

    def stop(self) -> None:
        """Let go of every frame and every thread."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._ordered.clear()
            self._failure = None
            self._changed.notify_all()

    def _can_take(self) -> bool:
        if self._stopped or (self._ended and not self._waiting):
            return True
        return bool(self._waiting) and len(self._ordered) < self._ahead

    def _can_give(self) -> bool:
        if self._ordered:
            return self._stopped or self._ordered[0].finished_at > 0
        return self._stopped or (self._ended and not self._waiting)

    def _drop_oldest(self) -> None:
        self._waiting.popleft()
        self.dropped += 1

    def _is_old(self, job: Job[Given, Restored]) -> bool:
        return self._max_age is not None and time.perf_counter() - job.read_at > self._max_age
