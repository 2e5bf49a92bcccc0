"""What a person sees of a training: against its budget, in either kind, on a terminal and in a log."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from training.engine import budget as budget_module
from training.engine.budget import Budget
from training.engine.progress import BudgetProgress, describe

TRAINER: Any = SimpleNamespace(is_global_zero=True)
MODULE: Any = None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands at clock[0]."""
    now = [100.0]
    monkeypatch.setattr(budget_module.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (Budget(1_000_000, 60.0), "0:00:00 of 0:01:00, 0 steps, time left unknown"),
        (Budget(1_000_000, 60.0, steps=37, seconds=15.0), "0:00:15 of 0:01:00, 37 steps, 0:00:45 left"),
        (Budget(1_000_000, 60.0, steps=80, seconds=60.2), "0:01:00 of 0:01:00, 80 steps, 0:00:00 left"),
        (Budget(200, steps=50, seconds=30.0), "50 of 200 steps, 0:00:30, 0:01:30 left"),
        (Budget(200, 4900.0, steps=50, seconds=30.0), "50 of 200 steps, 0:00:30, 0:01:30 left"),  # the steps end it
        (Budget(200, 40.0, steps=50, seconds=30.0), "0:00:30 of 0:00:40, 50 steps, 0:00:10 left"),
    ],
)
def test_progress_is_told_against_what_ends_the_training(budget: Budget, told: str) -> None:
    assert describe(budget) == told


def test_a_log_has_a_line_for_each_validation(clock: list[float]) -> None:
    budget, log = Budget(1_000_000, 60.0), io.StringIO()
    progress = BudgetProgress(budget, Console(file=log))
    progress.on_train_start(TRAINER, MODULE)
    budget.start()
    budget.steps, clock[0] = 12, 120.0
    progress.on_train_batch_end(TRAINER, MODULE, {"loss": torch.tensor(0.25)}, None, 0)
    assert log.getvalue() == ""
    budget.stop()
    progress.on_validation_start(TRAINER, MODULE)
    clock[0] = 900.0  # validating takes nothing of the budget
    progress.on_validation_end(TRAINER, MODULE)
    progress.teardown(TRAINER, MODULE, "fit")
    assert log.getvalue() == "0:00:20 of 0:01:00, 12 steps, 0:00:40 left, loss 0.25\n"


def test_a_terminal_has_a_bar_that_goes_away() -> None:
    budget, screen = Budget(100, steps=25, seconds=5.0), io.StringIO()
    progress = BudgetProgress(budget, Console(file=screen, force_terminal=True, width=120, color_system=None))
    progress.on_train_start(TRAINER, MODULE)
    progress.on_train_batch_end(TRAINER, MODULE, {"loss": torch.tensor(0.5)}, None, 0)
    bar = progress._bar
    assert bar is not None
    assert bar.tasks[0].percentage == 25
    bar.refresh()
    progress.on_exception(TRAINER, MODULE, KeyboardInterrupt())
    progress.teardown(TRAINER, MODULE, "fit")
    assert "25% 25 of 100 steps, 0:00:05, 0:00:15 left, loss 0.5" in screen.getvalue()
    assert "Epoch" not in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")  # erased
