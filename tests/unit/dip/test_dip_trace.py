"""The picture of a fit."""

from __future__ import annotations

import numpy as np
import pytest

from restore_sdk.dip import trace
from restore_sdk.dip.choosing import LEAST_NOISE, WINDOW
from restore_sdk.dip.engine import restore_planes
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.results import DipOutcome, FitResult, Point
from restore_sdk.dip.trace import HELD_OUT, LOSS, MARK, SCORE, curves_of, trace_picture


def outcome(policy: str = "wmv", channels: int = 3, sigma: float | None = None) -> DipOutcome:
    """A fit of 400 iterations that is made up."""
    points = tuple(Point(n, 0.1 / n, 1.0 / n if n > 100 else None, 0.2 / n, n * 0.1) for n in range(1, 401))
    image = np.random.default_rng(0).random((channels, 40, 60), np.float32)
    strip = tuple((at, (image * 255).astype(np.uint8)) for at in (10, 100, 300))
    fit = FitResult(image, image * 1e-4, 400, 350, policy, policy, 2, 40.0, points, strip)
    return DipOutcome(image, image * 1e-4, (fit,), 40.0, "cpu", sigma)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_shows_every_curve(channels: int) -> None:
    picture = trace_picture(outcome(channels=channels))
    assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)
    for colour in (LOSS, SCORE, HELD_OUT, MARK):
        assert (picture == np.array(colour)).all(2).any()


def test_a_score_that_is_another_curve_is_drawn_once() -> None:
    assert [curve.name for curve in curves_of(outcome("wmv").fits[0])] == ["loss", "held-out error", "score (wmv)"]
    assert [curve.name for curve in curves_of(outcome("held-out").fits[0])] == ["loss", "held-out error"]


def test_the_score_of_the_discrepancy_keeps_its_name_where_the_fallback_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    write = trace._write
    monkeypatch.setattr(trace, "_write", lambda *given, **named: (texts.append(given[2]), write(*given, **named)))
    noisy = np.random.default_rng(0).normal(0.5, 0.2, (1, 16, 16)).astype(np.float32)
    options = DipOptions(width="draft", sigma=0.01, max_iterations=WINDOW + 8, patience=1)
    fallen = restore_planes("dip-denoise", noisy, options, device="cpu")
    fit = fallen.fits[0]
    assert (fit.policy, fit.stop_reason) == ("wmv", "wmv")
    assert fit.trajectory[-1].score == pytest.approx(fit.trajectory[-1].loss - 0.01**2, rel=0.5)
    trace_picture(fallen)
    assert any(text.startswith("score (residual above sigma^2)") for text in texts)
    assert not any("wmv" in text and text.startswith("score") for text in texts)


def test_a_sigma_that_is_next_to_nothing_leaves_the_score_to_the_variance() -> None:
    fit = outcome("wmv").fits[0]
    assert [curve.name for curve in curves_of(fit, LEAST_NOISE / 2)][-1] == "score (wmv)"
    assert [curve.name for curve in curves_of(fit, LEAST_NOISE)][-1] == "score (residual above sigma^2)"


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
