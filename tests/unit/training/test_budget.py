"""Schedule, clock and moving average against values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from training.engine import budget as budget_module
from training.engine.budget import Budget
from training.engine.fit import moving_average


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands at clock[0]."""
    now = [100.0]
    monkeypatch.setattr(budget_module.time, "monotonic", lambda: now[0])
    return now


def test_progress_by_steps() -> None:
    budget = Budget(max_steps=8)
    budget.steps = 2
    assert budget.progress == 0.25
    assert not budget.spent
    budget.steps = 8
    assert budget.spent


def test_the_larger_share_counts(clock: list[float]) -> None:
    budget = Budget(max_steps=10, max_seconds=20.0)
    budget.start()
    budget.steps, clock[0] = 1, 110.0
    assert budget.progress == 0.5
    budget.steps = 9
    assert budget.progress == 0.9


def test_the_clock_stands_still_while_stopped(clock: list[float]) -> None:
    budget = Budget(max_steps=10, max_seconds=20.0, seconds=3.0)
    budget.start()
    clock[0] = 104.0
    budget.stop()
    clock[0] = 204.0
    assert budget.elapsed == 7.0
    budget.start()
    clock[0] = 205.0
    assert budget.elapsed == 8.0


@pytest.mark.parametrize(("steps", "factor"), [(0, 0.5), (1, 0.9330127), (3, 0.5), (6, 0.0)])
def test_warm_up_then_half_a_cosine(steps: int, factor: float) -> None:
    # one step of warm-up: (0 + 1) / 2 at the start; then (1 + cos(pi k / 6)) / 2
    budget = Budget(max_steps=6)
    budget.steps = steps
    assert budget.learning_rate_factor(1) == pytest.approx(factor, abs=1e-7)


@pytest.mark.parametrize(("updates", "expected"), [(0, 0.9), (10, 0.45), (10_000, 0.2)])
def test_the_average_remembers_more_and_more(updates: int, expected: float) -> None:
    # weights of the old value: min(0.8, (1 + n) / (10 + n)) = 1/10, 11/20, 0.8; from 0 towards 1
    average = moving_average(0.8)
    assert average(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(updates)).item() == pytest.approx(expected)
