"""How far a build is, and how it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from restore_sdk.backends.wishes import OnProgress

Cancelled: TypeAlias = Callable[[], bool]


@dataclass(slots=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class BuildProgress:
    """TensorRT reports nested phases, each of so many steps; this makes one fraction of them, which never falls."""

    def __init__(self, on_progress: OnProgress | None = None) -> None:
        self._phases: dict[str, _Phase] = {}
        self._on_progress = on_progress
        self._fraction = 0.0
        self.failure: Exception | None = None  # what `on_progress` raised; the build stops for it
        self._stopped = False
        self._lock = threading.Lock()

    @property
    def fraction(self) -> float:
        """In [0, 1]."""
        return self._fraction

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase begins; it is one step of `parent`."""
        self._change(phase, lambda: self._phases.__setitem__(phase, _Phase(parent, max(1, steps))))

    def step(self, phase: str, step: int) -> None:
        """Step number `step` of a phase, counted from 0, is done."""
        self._change(phase, lambda: self._record(phase, step + 1))

    def finish(self, phase: str) -> None:
        """A phase is over."""
        self._change(phase, lambda: self._end(phase))

    def stop(self) -> None:
        """The build was stopped: the phases that TensorRT now closes are no progress."""
        self._stopped = True

    def _end(self, phase: str) -> None:
        ended = self._phases.pop(phase, None)
        if ended is not None and ended.parent is None:
            self._fraction = 1.0

    def _record(self, phase: str, done: int) -> None:
        if phase in self._phases:
            self._phases[phase].done = done

    def _change(self, phase: str, change: Callable[[], object]) -> None:
        if self._stopped:
            return
        with self._lock:
            change()
            self._fraction = max(self._fraction, self._part_done(None))
            if self._on_progress is not None and self.failure is None:
                self._tell(self._on_progress, phase)

    def _tell(self, on_progress: OnProgress, phase: str) -> None:
        try:
            on_progress(self._fraction, phase)
        except Exception as exc:  # noqa: BLE001 our caller is C++, which an exception would end: it is raised after the build
            self.failure = exc

    def _part_done(self, parent: str | None) -> float:
        """The furthest of the phases directly below `parent`."""
        below = ((name, phase) for name, phase in self._phases.items() if phase.parent == parent)
        return max((min(1.0, (phase.done + self._part_done(name)) / phase.steps) for name, phase in below), default=0.0)


def vendor_monitor(api: ModuleType, progress: BuildProgress, cancelled: Cancelled) -> Any:
    """An IProgressMonitor of `api`: tells `progress`, and stops the build at the next step once `cancelled()` is true."""

    base: Any = api.IProgressMonitor  # no TensorRT wheel carries types

    class _Monitor(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress.step(phase_name, step)
            if progress.failure is None and not cancelled():
                return True
            progress.stop()
            return False

    return _Monitor()
