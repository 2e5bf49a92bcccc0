"""What a fit says at the terminal while it runs, and what Ctrl-C does to it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Self

from restore_sdk.cli.console import FileProgress, note

if TYPE_CHECKING:
    from restore_sdk.dip.results import FitProgress

SECONDS_BETWEEN_NOTES = 30.0  # where stderr is no terminal


@dataclass(slots=True)
class Interrupt:
    """Whether Ctrl-C was pressed."""

    asked: bool = False

    def __call__(self) -> bool:
        return self.asked


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """The first Ctrl-C, or SIGTERM, only asks, so that the fit ends with its best; the second interrupts as ever."""
    interrupt = Interrupt()

    def ask(number: int, frame: FrameType | None) -> None:
        if interrupt.asked:
            raise KeyboardInterrupt
        interrupt.asked = True
        note("interrupted: the best so far will be written; press Ctrl-C again to give it up")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class FitBars(FileProgress):
    """The bars of a run, the lower one for iterations; a line now and then where stderr is no terminal."""

    _said = _began = 0.0
    _shown = 0  # iteration

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def file_started(self, name: str) -> None:
        """The seconds of an image count from here."""
        super().file_started(name)
        self._began = time.monotonic()

    def tile_done(self, done: int, total: int) -> None:
        """Iterations have the bar."""

    def iterated(self, progress: FitProgress) -> None:
        """Show where the fit stands."""
        if self._bars is not None and self._tile_task is not None:
            if progress.iteration <= self._shown:  # of the next tiles or file, for which a bar that was full would stay so
                self._bars.reset(self._tile_task)
            self._shown, text = progress.iteration, f"  {described(progress)}"
            self._update(self._tile_task, completed=progress.iteration, total=progress.budget, description=text, visible=True)
        elif time.monotonic() - self._said >= SECONDS_BETWEEN_NOTES:
            if self._said:
                seconds = time.monotonic() - self._began
                note(f"iteration {progress.iteration} of {progress.budget}, {described(progress)}, {seconds:.0f} s")
            self._said = time.monotonic()


def described(progress: FitProgress) -> str:
    """Loss and stopping score, and the tiles where there are several."""
    score = "" if progress.score is None else f", score {progress.score:.2e}"
    tiles = "" if progress.tiles == 1 else f", {progress.done} of {progress.tiles} tiles"
    return f"loss {progress.loss:.4g}{score}{tiles}"
