"""An engine behind the Backend protocol: its range of shapes, its finite check, its changes.

Shapes inside the engine's range need nothing new. For a shape outside it, an ONNX model is built once more for a range that holds
it too; that engine takes over and is kept. A .plan file, and an engine that serves in the background, refuse it: BackendError.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from types import ModuleType

import numpy as np

from restore_sdk.backends.base import Backend, FloatNCHW
from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_finite import FiniteCheck, overflow_error
from restore_sdk.backends.engine_kernels import KeptKernels, kernel_facts
from restore_sdk.backends.engine_lease import Leased
from restore_sdk.backends.engine_profile import EngineProfile, Shape, size_text
from restore_sdk.backends.engine_running import EngineRunner, on_device
from restore_sdk.backends.engine_session import EngineRefusedError, load_engine
from restore_sdk.backends.engine_source import EngineSource, Obtained, widened
from restore_sdk.backends.file_backend import FileBackend, described
from restore_sdk.backends.signature import check_batch, check_shape
from restore_sdk.backends.wishes import Finite
from restore_sdk.cuda.launching import open_launcher
from restore_sdk.cuda.memory import Device
from restore_sdk.errors import BackendError


class TensorRTBackend(FileBackend):
    """One model on one GPU. Any number of threads may call any method at once; close() lets calls that run finish."""

    def __init__(
        self,
        source: EngineSource,
        api: ModuleType,
        device: Device,
        *,
        contexts: int = 3,
        finite: Finite = "raise",
        fallback: Callable[[], Backend],
        may_widen: bool = True,
        chosen: str | None = None,
        kernels: EngineCache | None = None,
    ) -> None:
        """Takes over `device`. fallback: opens what restores the batches that overflow, if `finite` is "fallback".

        may_widen  whether a shape outside the engine's range may mean a build, in the midst of a call.
        kernels    keeps what tensorrt_rtx compiles as it runs; None: nothing does.

        Raises BackendError, EngineBuildError, ModelSpecError, DeviceMemoryError.
        """
        with ExitStack() as undo:
            undo.callback(device.close)
            self._source, self._api, self._device = source, api, device
            self._contexts, self._may_widen, self._kernels = contexts, may_widen, kernels
            self._finite = FiniteCheck(finite, fallback)
            self._widening = threading.Lock()
            self._runner = Leased(self._opened(None), device.close)
            undo.pop_all()
        name, version, where = source.api, str(api.__version__), f"cuda:{device.index}"
        details = {"api": name, "gpu": device.name, "memory": device.implementation}
        report = described(source.spec, backend="tensorrt", version=version, device=where, chosen=chosen, **details)
        super().__init__(source.spec, report, ())

    @property
    def device_index(self) -> int:
        """Number of the GPU."""
        return self._device.index

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether the present engine runs batches of `shape`. Raises RestorerClosedError."""
        with self._runner.use() as runner:
            return runner.profile.contains(shape)

    def infer_many(self, batches: Iterable[FloatNCHW], /) -> Iterator[FloatNCHW]:
        """The results of `infer` for each of `batches`, in their order; several are under way at once. Raises what it raises."""
        waiting = iter(batches)
        first = next(waiting, None)
        while first is not None:
            check_batch(first, self._spec)
            with self._fitting(first.shape) as runner:
                feed = _Feed(first, waiting, partial(self._goes_on, runner))
                with closing(runner.run(feed)) as results:
                    for restored in results:
                        yield self._finite.checked(feed.in_flight.popleft(), restored)
            first = feed.left

    def infer_on_device(self, given: int, restored: int, shape: Shape, stream: int, /) -> None:
        """Queue one batch on the caller's stream; see DeviceBackend. A shape outside the engine's range blocks until it is built.

        With finite="raise" nothing waits: a result that is not finite is the BackendError of a later call, the first one after
        the GPU has got that far, or a RestoreWarning of close(). With "fallback" this waits for the stream and sees to it.
        """
        check_shape(shape, self._spec)
        policy = self._finite.policy
        with self._fitting(shape) as runner:
            if policy == "raise" and runner.overflowed():
                raise overflow_error()
            ticket = runner.enqueue_for_caller(given, restored, shape, stream, look=policy != "ignore")
            if policy == "fallback" and ticket is not None:
                launcher = open_launcher(self.device_index)
                launcher.wait(stream)
                if runner.overflowed(ticket):
                    batch = np.empty(shape, np.float32)
                    launcher.read(given, batch, stream)
                    launcher.write(restored, self._finite.instead(batch), stream)

    def warm_up(self, shapes: Iterable[tuple[int, int, int, int]], /) -> None:
        """Run once on each (N, C, H, W), and keep the kernels that were compiled for them."""
        super().warm_up(shapes)
        with self._runner.use() as runner:
            runner.keep_kernels()

    def report(self) -> Mapping[str, object]:
        """What really runs, the present engine's range and origin included."""
        with self._runner.use() as runner:
            engine = {**runner.report(), "outcome": self._obtained.outcome, "notes": [*self._obtained.notes, *runner.notes]}
        return {**super().report(), "engine": engine, "finite": self._finite.report()}

    def close(self) -> None:
        """Release everything once running calls are over; a second call does nothing."""
        self._runner.close()
        self._finite.close()

    def _run(self, batch: FloatNCHW) -> FloatNCHW:
        (restored,) = self.infer_many((batch,))
        return restored

    @contextmanager
    def _fitting(self, shape: tuple[int, ...]) -> Iterator[EngineRunner]:
        """An engine that runs `shape`, kept open within the `with`."""
        with self._runner.use() as runner:
            if runner.profile.contains(shape):
                yield runner
                return
        self._widen(shape)
        with self._runner.use() as runner:
            yield runner

    def _widen(self, shape: tuple[int, ...]) -> None:
        def make(present: EngineRunner) -> EngineRunner:
            batch, channels, height, width = shape
            return self._opened(widened(present.profile, (batch, channels, height, width), self._spec.size_multiple))

        with self._widening:
            if not self._may_widen:
                raise BackendError(f"{size_text(shape)} is outside the engine's range; see report()['engine']['profile']")
            self._runner.replace(lambda present: present.profile.contains(shape), make)

    def _opened(self, profile: EngineProfile | None) -> EngineRunner:
        """The engine for `profile`, None: the source's first, at work on our device."""
        source = self._source
        obtained = source.obtain(profile)
        try:
            runner = self._loaded(obtained)
        except EngineRefusedError as exc:
            obtained = source.again(profile, obtained, exc)
            runner = self._loaded(obtained)
        self._obtained: Obtained = obtained
        return runner

    def _loaded(self, obtained: Obtained) -> EngineRunner:
        with on_device(self._device):
            session = load_engine(self._api, obtained.payload, self._source.spec)
            kernels = None
            if self._kernels is not None and session.runtime_cache is not None:
                facts = kernel_facts(obtained.payload, self._source.api, str(self._api.__version__), self._device)
                kernels = KeptKernels(session.runtime_cache, self._kernels, facts)
            return EngineRunner(session, self._source.spec, self._device, self._contexts, kernels=kernels)

    def _goes_on(self, runner: EngineRunner, batch: FloatNCHW) -> bool:
        check_batch(batch, self._spec)
        return runner.profile.contains(batch.shape)


class _Feed:
    """`first` and what follows it in `waiting`, as long as `goes_on`. What was given out is in `in_flight` until someone takes it
    away; the first batch that did not go on is `left`."""

    def __init__(self, first: FloatNCHW, waiting: Iterator[FloatNCHW], goes_on: Callable[[FloatNCHW], bool]) -> None:
        self._first, self._waiting, self._goes_on = first, waiting, goes_on
        self.in_flight: deque[FloatNCHW] = deque()
        self.left: FloatNCHW | None = None

    def __iter__(self) -> Iterator[FloatNCHW]:
        batch: FloatNCHW | None = self._first
        while batch is not None:
            self.in_flight.append(batch)
            yield batch
            batch = next(self._waiting, None)
            if batch is not None and not self._goes_on(batch):
                self.left = batch
                return
