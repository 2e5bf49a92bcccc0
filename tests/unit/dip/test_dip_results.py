"""What a fit says of its own end."""

from __future__ import annotations

import numpy as np
import pytest

from restore_sdk.dip.results import FitResult, Point

NOTHING = np.zeros((1, 1, 1), np.float32)
FALLING = [10.0 - 0.1 * number for number in range(100)]
TURNED = [*FALLING[:60], *(4.0 + 0.1 * number for number in range(40))]
JUMPING = [score + (1.5 if number % 7 == 0 else 0.0) for number, score in enumerate(FALLING)]
FLAT = [1.0] * 100


def ended(scores: list[float] | list[None], best: int, reason: str = "max_seconds", policy: str = "held-out") -> FitResult:
    points = tuple(Point(number + 1, 1.0, score, 0.0, 0.1) for number, score in enumerate(scores))
    return FitResult(NOTHING, NOTHING, len(points), best, reason, policy, 0, 1.0, points)


@pytest.mark.parametrize(
    ("fit", "improving"),
    [
        (ended(FALLING, 100), True),
        (ended(FALLING, 100, "max_iterations", "discrepancy"), True),
        (ended(JUMPING, 98), True),  # the last two scores jump
        (ended(TURNED, 60), False),  # forty iterations without a better one
        (ended(FLAT, 95), False),
        (ended(FALLING, 100, "held-out"), False),  # the policy ended it
        (ended(FALLING, 100, "cancelled"), False),
        (ended(FALLING, 100, "max_iterations", "none"), False),  # so many were asked for
        (ended([None, None, None], 3), True),  # over before there was a score
        (ended([2.0, 1.0], 2), True),
    ],
)
def test_whether_a_larger_budget_would_give_more(fit: FitResult, improving: bool) -> None:
    assert fit.still_improving is improving
    assert fit.report()["still_improving"] is improving


def test_a_tile_that_was_not_started_says_nothing() -> None:
    assert not FitResult(NOTHING, NOTHING, 0, 0, "not started", "none", 0, 0.0).still_improving
