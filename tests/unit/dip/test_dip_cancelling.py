"""What is left of a fit that was cancelled early, and what is told on the way."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_fits import photo

from restore_sdk.dip.engine import Watch, restore_planes
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.results import FitProgress
from restore_sdk.dip_images import DipImages
from restore_sdk.errors import OptionsError

SHORT = DipOptions(width="draft", max_iterations=3, warm=2)
GRAY = np.full((20, 24, 3), 90, np.uint8)


def test_a_fit_that_is_cancelled_at_once_is_one_nevertheless() -> None:
    planes = photo(24)
    outcome = restore_planes("dip-denoise", planes, SHORT, device="cpu", watch=Watch(cancelled=lambda: True))
    assert [(fit.iterations, fit.stop_reason) for fit in outcome.fits] == [(1, "cancelled")]
    assert not np.array_equal(outcome.image, planes)


def test_only_tiles_whose_turn_comes_later_stay_as_they_were() -> None:
    planes = np.concatenate([photo(64), photo(64)], 2)[:, :, :112]
    options = DipOptions(width="draft", max_iterations=3, tile=64, overlap=16, batch=1)
    outcome = restore_planes("dip-denoise", planes, options, device="cpu", watch=Watch(cancelled=lambda: True))
    assert [(fit.iterations, fit.stop_reason) for fit in outcome.fits] == [(1, "cancelled"), (0, "not started")]
    assert np.array_equal(outcome.image[..., 64:], planes[..., 64:])
    assert not np.array_equal(outcome.image[..., :48], planes[..., :48])


def test_frames_end_with_the_one_in_hand() -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5  # once after each of three iterations, once before the second frame, then in it

    images = DipImages("dip-denoise", SHORT, device="cpu")
    made = list(images.frames([GRAY] * 4, cancelled=cancelled))
    assert [(one.outcome.fits[0].iterations, one.outcome.fits[0].stop_reason) for one in made] == [
        (3, "max_iterations"),
        (2, "cancelled"),
    ]
    assert len(list(images.frames([GRAY] * 2, cancelled=lambda: False))) == 2
    with pytest.raises(OptionsError, match=r"^cancelled=3, expected something to call"):
        images.frames([GRAY], cancelled=3)  # type: ignore[arg-type]


def test_coarse_iterations_are_told_as_number_zero() -> None:
    told: list[FitProgress] = []
    images = DipImages("dip-denoise", DipOptions(width="draft", max_iterations=3, coarse=4), device="cpu")
    fit = images.restore(GRAY, on_progress=told.append).outcome.fits[0]
    assert [(progress.iteration, progress.budget) for progress in told] == [(0, 3)] * 4 + [(1, 3), (2, 3), (3, 3)]
    assert [point.iteration for point in fit.trajectory] == [1, 2, 3]
    assert fit.iterations == 3


def test_progress_of_coarse_iterations_shows_an_image_and_may_cancel() -> None:
    seen: list[FitProgress] = []
    shapes: list[tuple[int, ...]] = []

    def tell(progress: FitProgress) -> None:
        seen.append(progress)
        shapes.append(progress.image().shape)

    images = DipImages("dip-denoise", DipOptions(width="draft", max_iterations=3, coarse=9), device="cpu")
    images.restore(GRAY, on_progress=tell, cancelled=lambda: len(seen) >= 2)
    assert [progress.iteration for progress in seen] == [0, 0, 1]
    assert shapes == [(3, 20, 24)] * 3


def test_who_has_cancelled_need_not_say_it_again() -> None:
    answers = iter([False, True, *[False] * 100])
    options = DipOptions(width="draft", max_iterations=6, tile=64, overlap=16, batch=1)
    made = DipImages("dip-denoise", options, device="cpu").restore(
        np.zeros((64, 160, 3), np.uint8), cancelled=lambda: next(answers)
    )
    assert [fit.stop_reason for fit in made.outcome.fits] == ["cancelled", "not started", "not started"]
