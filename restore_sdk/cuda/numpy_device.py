"""The protocol on host memory: no GPU is used and nothing becomes faster. It runs the pipeline's logic where there is no GPU.

Each stream is one worker thread, so work really is asynchronous and really overlaps. A log tells what ran when, in two measures:
`start` and `end` count all starts and ends on the device in one order; `began` and `ended` are seconds on a clock of the device's
own, on which an operation takes its artificial delay and the host takes no time, whatever the machine is doing.

Work that fails drops what is queued behind it up to the next record; that event raises, in `synchronize` and for streams that
wait for it. Unlike a CUDA context, which a fault may end for good, the stream then goes on.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import count

import numpy as np
from numpy.typing import NDArray

from restore_sdk.cuda.memory import (
    DeviceBuffer,
    Event,
    PinnedBuffer,
    Resource,
    Stream,
    check_copy,
    check_open,
    check_size,
    out_of_memory,
    own,
)
from restore_sdk.cuda.numpy_log import LogEntry, Step
from restore_sdk.errors import BackendError

DEFAULT_TOTAL = 1 << 30  # bytes that stand in for the memory of a GPU
UNWRITTEN = 0xA5  # new memory is not zero on a GPU either


class NumpyDevice(Resource):
    """Host memory as a device. delays: seconds of each operation on the device's own clock, and, if `sleeping`, of real time.
    log: filled as operations end. total: bytes that all device buffers may take together."""

    implementation, index, name, capability = "numpy", 0, "host memory (numpy)", (0, 0)

    def __init__(
        self,
        *,
        delays: Mapping[str, float] | None = None,
        log: list[LogEntry] | None = None,
        total: int = DEFAULT_TOTAL,
        sleeping: bool = False,
    ) -> None:
        self.delays, self.log, self.total, self.sleeping = dict(delays or {}), log, total, sleeping
        self.live: Counter[str] = Counter()  # what is open: "buffer", "pinned", "event", "stream", "graph"
        self.used = 0  # bytes of the open device buffers
        self._lock = threading.Lock()
        self._order, self._handles = count(), count(1)
        self._host = threading.local()

    def memory(self) -> tuple[int, int]:
        return self.total - self.used, self.total

    def buffer(self, nbytes: int) -> NumpyBuffer:
        return NumpyBuffer(self, nbytes)

    def pinned(self, nbytes: int) -> NumpyPinned:
        return NumpyPinned(self, nbytes)

    def stream(self) -> NumpyStream:
        return NumpyStream(self)

    def event(self) -> NumpyEvent:
        return NumpyEvent(self)

    def close(self) -> None:
        """Nothing of its own to release."""

    @property
    def clock(self) -> float:
        """The device's clock as the calling thread knows it: the latest end that it has waited for, seconds."""
        return float(getattr(self._host, "clock", 0.0))

    def reached(self, clock: float) -> None:
        """The calling thread has waited for `clock`."""
        self._host.clock = max(self.clock, clock)

    def tick(self) -> int:
        """The next number in the one order of all starts and ends."""
        with self._lock:
            return next(self._order)

    def handle(self) -> int:
        """A number for a new stream."""
        return next(self._handles)

    def count(self, kind: str, change: int, nbytes: int = 0) -> None:
        """Account for something opened (+1) or closed (-1) and its device memory. Raises DeviceMemoryError."""
        with self._lock:
            if nbytes > 0 and self.used + nbytes > self.total:
                raise out_of_memory(nbytes, self.total - self.used)
            self.live[kind] += change
            self.used += nbytes


class Memory(Resource):
    """A flat array as memory; of the device if it counts there."""

    kind, on_device = "", False

    def __init__(self, device: NumpyDevice, nbytes: int) -> None:
        check_size(nbytes)
        device.count(self.kind, 1, nbytes if self.on_device else 0)
        self.array: NDArray[np.uint8] = np.full(nbytes, UNWRITTEN, np.uint8)
        self.pointer, self.nbytes, self._device, self.closed = int(self.array.ctypes.data), nbytes, device, False

    def bytes(self, nbytes: int) -> NDArray[np.uint8]:
        """The first bytes, for work that runs on a stream. Raises BackendError after close(): a use after free."""
        if self.closed:
            raise BackendError(f"a {self.kind} buffer was used after close(); close it when the work on it is done")
        return self.array[:nbytes]

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._device.count(self.kind, -1, -self.nbytes if self.on_device else 0)


class NumpyBuffer(Memory):
    """Stands in for device memory."""

    kind, on_device = "buffer", True


class NumpyPinned(Memory):
    """Stands in for pinned memory."""

    kind = "pinned"


class NumpyEvent(Resource):
    """The future of its latest record; its value is the device's clock there."""

    def __init__(self, device: NumpyDevice) -> None:
        device.count("event", 1)
        self._device, self.mark, self._closed = device, _reached(0.0), False

    @property
    def done(self) -> bool:
        return self.mark.done()

    def synchronize(self) -> None:
        self._device.reached(_result(self.mark))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._device.count("event", -1)


class NumpyStream(Resource):
    """A queue with one worker thread."""

    def __init__(self, device: NumpyDevice) -> None:
        device.count("stream", 1)
        self._device, self.handle = device, device.handle()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"numpy-stream-{self.handle}")
        self._clock = 0.0  # where the worker is on the device's clock
        self._last = _reached(0.0)  # what the next work follows
        self._captured: list[Step] | None = None

    def queue(self, operation: str, what: int, work: Callable[[], None]) -> None:
        """Queue host work under a name for the log: this is how a network runs on this device."""
        check_open(self)
        step = Step(operation, what, work)
        if self._captured is not None:
            self._captured.append(step)
        else:
            self.queue_step(step)

    def queue_step(self, step: Step) -> None:
        """Queue `step`, past a capture."""
        self._last = self._worker.submit(self._run, self._last, step, self._device.clock)

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None:
        check_copy(target, source, nbytes)
        self.queue("copy_in", target.pointer, partial(_copy, own(target, NumpyBuffer), own(source, NumpyPinned), nbytes))

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None:
        check_copy(target, source, nbytes)
        self.queue("copy_out", source.pointer, partial(_copy, own(target, NumpyPinned), own(source, NumpyBuffer), nbytes))

    def record(self, event: Event) -> None:
        own(event, NumpyEvent).mark = self._mark()

    def wait(self, event: Event) -> None:
        self._last = self._worker.submit(self._follow, self._last, own(event, NumpyEvent).mark)

    def synchronize(self) -> None:
        self._device.reached(_result(self._mark()))

    def capture(self, work: Callable[[], None]) -> NumpyGraph:
        self._captured = []
        try:
            work()
            return NumpyGraph(self._device, tuple(self._captured))
        finally:
            self._captured = None

    def close(self) -> None:
        if self.handle:
            self.handle = 0
            self._worker.shutdown(wait=True)
            self._device.count("stream", -1)

    def _mark(self) -> Future[float]:
        """The end of what is queued. A failure before it goes with it, not to what follows."""
        if self._captured is not None:
            raise BackendError("marks cannot be set while a graph is captured; capture the work between them")
        mark = self._worker.submit(self._follow, self._last, _reached(0.0))
        self._last = _reached(0.0)
        return mark

    def _follow(self, last: Future[float], mark: Future[float]) -> float:
        last.result()
        self._clock = max(self._clock, mark.result())
        return self._clock

    def _run(self, last: Future[float], step: Step, queued: float) -> float:
        last.result()
        start, began = self._device.tick(), max(self._clock, queued)
        delay = self._device.delays.get(step.operation, 0.0)
        step.work()
        if self._device.sleeping:
            time.sleep(delay)
        self._clock = began + delay
        if self._device.log is not None:
            entry = LogEntry(step.operation, step.what, self.handle, start, self._device.tick(), began, self._clock)
            self._device.log.append(entry)
        return self._clock


class NumpyGraph(Resource):
    """A list of steps, queued in one go."""

    def __init__(self, device: NumpyDevice, steps: tuple[Step, ...]) -> None:
        device.count("graph", 1)
        self._device, self._steps, self._closed = device, steps, False

    def launch(self, stream: Stream) -> None:
        for step in self._steps:
            own(stream, NumpyStream).queue_step(step)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._device.count("graph", -1)


def _copy(target: Memory, source: Memory, nbytes: int) -> None:
    target.bytes(nbytes)[:] = source.bytes(nbytes)


def _reached(clock: float) -> Future[float]:
    mark: Future[float] = Future()
    mark.set_result(clock)
    return mark


def _result(mark: Future[float]) -> float:
    """The clock at `mark`, waited for. Raises BackendError where the work before it failed."""
    failure = mark.exception()
    if failure is None:
        return mark.result()
    if isinstance(failure, BackendError):
        raise failure
    raise BackendError("work queued on the device failed:", [f"{type(failure).__name__}: {failure}"]) from failure
