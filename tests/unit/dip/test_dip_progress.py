"""Bars and lines of a fit on the command line, from one group of tiles, or one file, to the next."""

from __future__ import annotations

import io
import itertools
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from restore_sdk.cli import dip_progress
from restore_sdk.cli.dip_progress import FitBars
from restore_sdk.dip.results import FitProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(iteration: int, done: int = 0) -> FitProgress:
    """Of a group that takes three iterations, and has run for a second only."""
    return FitProgress(iteration, 3, 0.5, None, 1.0, done, 8, lambda: np.zeros((1, 1, 1), np.float32))


@pytest.mark.parametrize("iterations", [(1, 2, 3), (3,)])
def test_a_bar_that_was_full_begins_anew(monkeypatch: pytest.MonkeyPatch, iterations: tuple[int, ...]) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with FitBars(2) as bars:
        bars.file_started("a.png")
        shown: Any = bars._bars
        task = shown.tasks[1]
        for iteration in iterations:
            bars.iterated(progress(iteration))
        assert task.finished
        bars.iterated(progress(1, done=4))  # of the next group
        assert (task.completed, task.total, task.finished, task.visible) == (1, 3, False, True)
        assert task.finished_time is None
        assert "4 of 8 tiles" in task.description


def test_a_line_tells_the_seconds_of_the_image(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = itertools.count(1000.0, 25.0)
    monkeypatch.setattr(dip_progress, "time", SimpleNamespace(monotonic=lambda: now))
    now = next(clock)
    with FitBars(1) as bars:
        bars.file_started("a.png")
        for done in (0, 0, 0, 4):
            now = next(clock)
            bars.iterated(progress(2, done))
    assert capsys.readouterr().err == "iteration 2 of 3, loss 0.5, 0 of 8 tiles, 75 s\n"
