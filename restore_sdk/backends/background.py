"""Serving on one backend while a better one is made ready, and changing over without anyone waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from typing import Literal, Protocol, TypeAlias

from restore_sdk.backends.base import Backend, DeviceBackend, FloatNCHW, PipelinedBackend
from restore_sdk.backends.engine_lease import Leased
from restore_sdk.backends.engine_progress import Cancelled
from restore_sdk.errors import DeviceUnavailableError
from restore_sdk.spec import ModelSpec

State: TypeAlias = Literal["building", "ready", "failed"]


class ShapedBackend(Backend, Protocol):
    """A backend that runs some shapes and no others."""

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether it runs batches of `shape`."""
        ...


class BackgroundBackend:
    """Runs on `now` until `make` is done, then on what that gave; batches of shapes which that does not take stay with `now`.

    The change comes between two batches, so results before and after it may differ by the rounding of two runtimes. report()
    says what serves. If `make` fails, that is told there and `now` goes on. Any number of threads may use it at once.
    """

    def __init__(self, now: Backend, make: Callable[[Cancelled], ShapedBackend], *, device_index: int = 0) -> None:
        """Takes over `now`. make: called on another thread, with a function that says whether to give up; device_index: of the
        GPU that what it makes runs on."""
        self._spec, self._index = now.spec, device_index
        self._now: Leased[Backend] = Leased(now)
        self._later: Leased[ShapedBackend] | None = None
        self._state: State = "building"
        self._failure: Exception | None = None
        self._closing = threading.Event()
        self._turn = threading.Lock()
        _before_exit(self._closing.set)
        self._thread = threading.Thread(target=self._make, args=(make,), name="engine-background", daemon=True)
        self._thread.start()

    @property
    def spec(self) -> ModelSpec:
        """What the network promises."""
        return self._spec

    def infer(self, batch: FloatNCHW, /) -> FloatNCHW:
        """As Backend.infer, on what serves now."""
        with self._serving(batch.shape).use() as backend:
            return backend.infer(batch)

    @property
    def device_index(self) -> int:
        """Number of the GPU that the backend which is made ready runs on."""
        return self._index

    def infer_on_device(self, given: int, restored: int, shape: tuple[int, int, int, int], stream: int, /) -> None:
        """As DeviceBackend.infer_on_device, on what serves now. Raises DeviceUnavailableError if that does not work on arrays of
        this GPU: before the change-over, and for shapes that stay with it."""
        with self._serving(shape).use() as backend:
            if not isinstance(backend, DeviceBackend) or backend.device_index != self._index:
                raise _refusal(self._index, backend.report(), shape)
            backend.infer_on_device(given, restored, shape, stream)

    def infer_many(self, batches: Iterable[FloatNCHW], /) -> Iterator[FloatNCHW]:
        """As PipelinedBackend.infer_many; each batch on what serves when its turn comes."""
        for serving, run in groupby(batches, key=lambda batch: self._serving(batch.shape)):
            with serving.use() as backend:
                yield from _results(backend, run)

    def warm_up(self, shapes: Iterable[tuple[int, int, int, int]], /) -> None:
        """Run what serves now once on each shape; what comes later warms up at its first batch."""
        for shape in shapes:
            with self._serving(shape).use() as backend:
                backend.warm_up([shape])

    def report(self) -> Mapping[str, object]:
        """The report of what serves, with "build": {"mode", "state", "error"}, and "meanwhile": what serves other shapes."""
        later = self._later
        with self._now.use() as now:
            failure = self._failure
            error = None if failure is None else {"type": type(failure).__name__, "message": str(failure)}
            build = {"build": {"mode": "background", "state": self._state, "error": error}}
            if later is None:
                return {**now.report(), **build}
            with later.use() as serving:
                return {**serving.report(), **build, "meanwhile": now.report()["backend"]}

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the build is over, or `timeout` seconds; whether it is."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop the build at its next step and release everything once running calls are over; a second call does nothing."""
        with self._turn:
            self._closing.set()
            later = self._later
        for backend in (self._now, later):
            if backend is not None:
                backend.close()

    def _serving(self, shape: tuple[int, ...]) -> Leased[Backend] | Leased[ShapedBackend]:
        later = self._later
        if later is not None:
            with later.use() as backend:
                if backend.takes(shape):
                    return later
        return self._now

    def _make(self, make: Callable[[Cancelled], ShapedBackend]) -> None:
        try:
            made = make(self._closing.is_set)
        except Exception as exc:  # noqa: BLE001 the edge of the thread, and on_progress may raise anything: report() tells it
            self._failure, self._state = exc, "failed"
            return
        with self._turn:
            if not self._closing.is_set():
                self._later, self._state = Leased(made), "ready"
                return
        made.close()


def _refusal(index: int, serving: Mapping[str, object], shape: tuple[int, ...]) -> DeviceUnavailableError:
    where = str(serving.get("device"))
    now = f"{serving.get('backend')} on {where} serves {shape[3]}x{shape[2]} now"
    ready = "or wait until report()['build']['state'] is 'ready'"
    remedy = f"pass a numpy array, open the model with build='wait', {ready}"
    return DeviceUnavailableError(f"an array on cuda:{index}", [where], f"{now}; {remedy}")


def _before_exit(call: Callable[[], None]) -> None:
    """Call it before the interpreter waits for the threads of pools, of which a build has one: else leaving takes as long as the
    build. Python has this hook, but no public name for it."""
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        with suppress(RuntimeError):  # the interpreter is leaving already
            register(call)


def _results(backend: Backend, batches: Iterable[FloatNCHW]) -> Iterator[FloatNCHW]:
    return backend.infer_many(batches) if isinstance(backend, PipelinedBackend) else map(backend.infer, batches)
