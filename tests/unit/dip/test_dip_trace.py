"""The picture of a fit."""

from __future__ import annotations

import numpy as np
import pytest

from restore_sdk.dip.results import DipOutcome, FitResult, Point
from restore_sdk.dip.trace import HELD_OUT, LOSS, MARK, SCORE, curves_of, trace_picture


def outcome(policy: str = "wmv", channels: int = 3) -> DipOutcome:
    """A fit of 400 iterations that is made up."""
    points = tuple(Point(n, 0.1 / n, 1.0 / n if n > 100 else None, 0.2 / n, n * 0.1) for n in range(1, 401))
    image = np.random.default_rng(0).random((channels, 40, 60), np.float32)
    strip = tuple((at, (image * 255).astype(np.uint8)) for at in (10, 100, 300))
    fit = FitResult(image, image * 1e-4, 400, 350, policy, policy, 2, 40.0, points, strip)
    return DipOutcome(image, image * 1e-4, (fit,), 40.0, "cpu", 0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_shows_every_curve(channels: int) -> None:
    picture = trace_picture(outcome(channels=channels))
    assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)
    for colour in (LOSS, SCORE, HELD_OUT, MARK):
        assert (picture == np.array(colour)).all(2).any()


def test_a_score_that_is_another_curve_is_drawn_once() -> None:
    assert [curve.name for curve in curves_of(outcome("wmv").fits[0])] == ["loss", "held-out error", "score (wmv)"]
    assert [curve.name for curve in curves_of(outcome("held-out").fits[0])] == ["loss", "held-out error"]


def test_a_fit_of_one_iteration_can_be_drawn() -> None:
    fit = FitResult(
        np.zeros((1, 4, 4), np.float32),
        np.zeros((1, 4, 4), np.float32),
        1,
        1,
        "cancelled",
        "none",
        0,
        0.1,
        (Point(1, 0.1, None, 0, 0.1),),
    )
    assert trace_picture(DipOutcome(fit.image, fit.variance, (fit, fit), 0.1, "cpu")).any()
