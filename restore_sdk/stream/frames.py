"""Frames in, restored frames out, in order: reading, restoring and what the consumer does with the results overlap."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar, cast, get_args, runtime_checkable

from restore_sdk.errors import OptionsError
from restore_sdk.options import DEFAULT_QUEUE, MOST_WORKERS
from restore_sdk.stream.errors import StreamError
from restore_sdk.stream.line import Job, Line

Policy: TypeAlias = Literal["block", "drop-oldest", "latest-only"]
Given = TypeVar("Given")
Restored = TypeVar("Restored")


class Reuse(Protocol):
    """Told when a frame begins, on the thread that restores it, and asked afterwards. See restore_sdk.stream.reuse."""

    def begin_frame(self) -> None:
        """A frame is about to be restored on this thread."""
        ...

    def share(self) -> float:
        """Share of the tiles of this thread's frame that were not computed again, 0 to 1."""
        ...


@runtime_checkable
class Cancellable(Protocol):
    """What may be at one frame for minutes."""

    def cancel(self) -> None:
        """End the frame in hand, from any thread."""
        ...


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """What became of one frame. Times are seconds of time.perf_counter(); the stages are milliseconds."""

    sequence: int  # counts what was read, from 0; dropped frames leave gaps
    read_at: float
    restored_at: float
    handed_out_at: float
    read_ms: float  # in the source
    queued_ms: float  # waiting for a worker
    restore_ms: float
    waiting_ms: float  # finished, until the consumer took it
    dropped: int  # frames of this stream dropped so far
    reused: float | None  # share of the tiles taken over from the frame before; None: reuse is off

    @property
    def age_ms(self) -> float:
        """From when the frame was read to when the consumer had it."""
        return 1e3 * (self.handed_out_at - self.read_at)


def stream_frames(
    restore: Callable[[Given], Restored],
    frames: Iterable[Given],
    *,
    workers: int = 1,
    queue: int = DEFAULT_QUEUE,
    policy: Policy = "block",
    max_age: float | None = None,
    reuse: Reuse | None = None,
    interrupt: Callable[[], object] | None = None,
) -> FrameStream[Restored]:
    """Restore `frames` in threads of their own; iterate over what is returned, best inside a `with`.

    restore  called from `workers` threads; what it takes and returns is its own matter (arrays of the host or of a device)
    frames   read in one thread; a generator is closed there
    workers  frames in work at once, 1 to 64
    queue    frames that wait for a worker, and as many finished ones that wait for the consumer
    policy   when the consumer is slower than the source: "block" makes the source wait (files); "drop-oldest" drops the frame
             that has waited longest; "latest-only" keeps one waiting frame, the newest, whatever `queue` is (cameras)
    max_age  seconds since a frame was read, with a policy that drops: older ones are dropped before they are restored, and
             finished ones when the consumer comes for them. A frame that the consumer was waiting for is never too old
    reuse    counts the tiles that were taken over
    interrupt  called when the stream is closed, on the thread that closes it: cuts short what `restore` is at

    Frames come out in order. Nothing starts before the first one is asked for. Whatever a stage raises ends the stream and is
    raised once, as a StreamError with the frame's number, after the frames before it. Raises OptionsError, with the first frame
    also where the system starts no thread for each worker.
    """
    _check_count("workers", workers, MOST_WORKERS)
    _check_count("queue", queue)
    if policy not in get_args(Policy):
        raise OptionsError("policy", policy, "'block', 'drop-oldest' or 'latest-only'")
    if max_age is not None and (policy == "block" or not isinstance(max_age, int | float) or not max_age > 0):
        raise OptionsError("max_age", max_age, "seconds above 0, with a policy that drops frames, or None")
    drops = policy != "block"
    line: Line[Given, Restored] = Line(
        1 if policy == "latest-only" else queue, workers if drops else workers + queue, drops=drops, max_age=max_age
    )
    targets: list[Callable[[], None]] = [lambda: _read(line, frames)]
    targets += [lambda: _work(line, restore, reuse)] * workers
    threads = [threading.Thread(target=target, name="restore-stream", daemon=True) for target in targets]
    return FrameStream(line, threads, interrupt)


class FrameStream(Generic[Restored]):
    """The restored frames of one stream: an iterator for one consumer, and a context manager."""

    def __init__(
        self, line: Line[Any, Restored], threads: list[threading.Thread], interrupt: Callable[[], object] | None = None
    ) -> None:
        self._line, self._threads, self._interrupt = line, threads, interrupt
        self._started = self._closed = False
        self._record: FrameRecord | None = None
        self._release = weakref.finalize(self, line.stop)  # a stream that is forgotten half-way stops its threads

    @property
    def record(self) -> FrameRecord | None:
        """Of the frame that was handed out last; None before the first."""
        return self._record

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""
        return self._line.dropped

    def __iter__(self) -> Iterator[Restored]:
        return self

    def __next__(self) -> Restored:
        job = self._next_job()
        if job is None:
            self.close()
            raise StopIteration
        if job.error is not None:
            self.close()
            raise StreamError(job.sequence, job.stage, job.error) from job.error
        self._record = _record(job, self._line.dropped)
        return cast(Restored, job.result)

    def close(self) -> None:
        """End every thread, waiting for the frame that each has in hand; a second call does nothing."""
        self._closed = True
        self._release()
        if self._interrupt is not None:
            self._interrupt()
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():  # else it was never started
                thread.join()

    def __enter__(self) -> FrameStream[Restored]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _next_job(self) -> Job[Any, Restored] | None:
        if self._closed:
            return None
        asked_at = time.perf_counter()
        if not self._started:
            self._start()
        return self._line.next(asked_at)

    def _start(self) -> None:
        self._started = True
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError as exc:  # the system has no more of them
            self.close()
            workers = len(self._threads) - 1
            raise OptionsError("workers", workers, f"fewer than the threads that the system can start ({exc})") from exc


def _read(line: Line[Given, Restored], frames: Iterable[Given]) -> None:
    """The reading thread."""
    sequence = 0
    failure: Job[Given, Restored] | None = None
    asked_at = time.perf_counter()
    try:
        iterator = iter(frames)
        for frame in iterator:
            if not line.put(Job(sequence, frame, asked_at, time.perf_counter())):
                break
            sequence, asked_at = sequence + 1, time.perf_counter()
        if isinstance(iterator, Generator):
            iterator.close()
    except BaseException as exc:  # noqa: BLE001 whatever it is, it belongs to the consumer
        failure = Job(sequence, None, asked_at, time.perf_counter(), error=exc, stage="read")
    line.end(failure)


def _work(line: Line[Given, Restored], restore: Callable[[Given], Restored], reuse: Reuse | None) -> None:
    """A restoring thread."""
    while (job := line.take()) is not None:
        try:
            if reuse is not None:
                reuse.begin_frame()
            job.result = restore(cast(Given, job.frame))
            job.reused = None if reuse is None else reuse.share()
        except BaseException as exc:  # noqa: BLE001 whatever it is, it belongs to the consumer
            job.error = exc
        job.frame = None  # its memory is free before the consumer has the result
        line.done(job)


def _record(job: Job[Any, Restored], dropped: int) -> FrameRecord:
    now = time.perf_counter()
    return FrameRecord(
        sequence=job.sequence,
        read_at=job.read_at,
        restored_at=job.finished_at,
        handed_out_at=now,
        read_ms=1e3 * (job.read_at - job.asked_at),
        queued_ms=1e3 * (job.taken_at - job.read_at),
        restore_ms=1e3 * (job.finished_at - job.taken_at),
        waiting_ms=1e3 * (now - job.finished_at),
        dropped=dropped,
        reused=job.reused,
    )


def _check_count(name: str, value: object, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most is not None and value > most):
        raise OptionsError(name, value, "an integer of at least 1" if most is None else f"an integer from 1 to {most}")
