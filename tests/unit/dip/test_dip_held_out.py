"""What is kept out of the loss: as deep as the holes, apart from one another, and never what was not measured."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from restore_sdk.degradations import seeded
from restore_sdk.dip.held_out import FEWEST, LEAST_SHARE, disc_radius, held_out
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.problem import pose
from restore_sdk.dip_images import DipImages

WHOLE = torch.ones(96, 96, dtype=torch.bool)


def hole(size: int, side: int = 96) -> torch.Tensor:
    """Known but for a square of `size` in the middle."""
    known = torch.ones(side, side, dtype=torch.bool)
    begin = (side - size) // 2
    known[begin : begin + size, begin : begin + size] = False
    return known


def test_depth_of_holes_decides_about_the_discs() -> None:
    # a stripe of 5 pixels: depths 1, 2, 3, 2, 1, on average 1.8; 3 (1.8 - 2/3) = 3.4
    lost = np.zeros((40, 60), bool)
    lost[:, 20:25] = True
    assert disc_radius(lost, 1e6) == 3
    assert disc_radius(lost, FEWEST * np.pi * 2**2) == 2  # room for no larger ones
    assert disc_radius(np.zeros_like(lost), 1e6) == 0
    lost[:, 20:25] = False
    lost[::4, ::4] = True  # single pixels: depth 1
    assert disc_radius(lost, 1e6) == 1


def test_a_stripe_along_the_border_is_as_deep_as_it_is_wide() -> None:
    lost = np.zeros((40, 60), bool)
    lost[:, :3] = True  # what lies beyond the border is not known either: depths 3, 2, 1
    assert disc_radius(lost, 1e6) == 4


def test_wide_holes_keep_discs_out() -> None:
    known = hole(30)
    made = held_out(known, known, 0.1, seeded(0)).numpy()
    count, _, boxes, _ = cv2.connectedComponentsWithStats(made.astype(np.uint8))
    radius = disc_radius(~known.numpy(), 0.1 * int(known.sum()))
    assert radius == 6
    assert count - 1 >= FEWEST
    assert set(boxes[1:, cv2.CC_STAT_AREA]) == {113}  # pixels within 6 of a point; none is cut off, none touch
    assert made.sum() == pytest.approx(0.1 * int(known.sum()), abs=113)


def test_scattered_pixels_are_kept_out_one_by_one() -> None:
    known = torch.rand(96, 96, generator=seeded(3)) > 0.9  # no disc of known pixels anywhere
    made = held_out(known, known, 0.1, seeded(0))
    assert not (made & ~known).any()
    assert int(made.sum()) == pytest.approx(0.1 * int(known.sum()), abs=40)


def test_without_a_mask_single_pixels_are_kept_out() -> None:
    made = held_out(WHOLE, WHOLE, 0.1, seeded(0))
    assert int(made.sum()) == pytest.approx(921, abs=120)


def test_the_fit_is_given_discs() -> None:
    problem = pose("dip-inpaint", torch.zeros(3, 96, 96), DipOptions(stopping="held-out", held_out=0.1), known=hole(30))
    held = problem.held_out[0, 0]
    eroded = cv2.erode(held.numpy().astype(np.uint8), np.ones((3, 3), np.uint8))
    assert eroded.any()
    assert not (problem.fitted & problem.held_out).any()


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 0.95), st.integers(1, 5), st.floats(0.01, 0.5), st.integers(0, 99))
def test_any_mask(height: int, width: int, lost: float, coarse: int, share: float, seed: int) -> None:
    """Only what is usable, never all of it, and the same again."""
    small = torch.rand(-(-height // coarse), -(-width // coarse), generator=seeded(seed)) > lost
    known = small.repeat_interleave(coarse, 0).repeat_interleave(coarse, 1)[:height, :width]
    usable = known & (torch.rand(height, width, generator=seeded(seed + 1)) > 0.1)
    made = held_out(usable, known, share, seeded(seed))
    assert made.dtype == torch.bool
    assert made.shape == usable.shape
    assert not (made & ~usable).any()
    assert not made.any() or (int(made.sum()) >= 1 and (usable & ~made).any())
    assert torch.equal(made, held_out(usable, known, share, seeded(seed)))


def test_where_little_is_known_nothing_is_kept_out_and_another_policy_stops() -> None:
    known = np.zeros((12, 12), bool)
    known[::2, ::2] = True  # 36 pixels
    assert not held_out(torch.from_numpy(known), torch.from_numpy(known), 0.03, seeded(0)).any()
    image = np.linspace(0, 255, 12, dtype=np.uint8)[None, :, None] * np.ones((12, 1, 3), np.uint8)
    images = DipImages("dip-inpaint", DipOptions(width="draft", max_iterations=30, patience=10), device="cpu")
    made = images.restore(image, ~known).outcome.fits[0]
    assert made.policy == "wmv"
    assert made.best_iteration == 30  # a window is not full yet, so the latest is the best


@pytest.mark.parametrize("lost", [0.75, 0.8, 0.85])
@pytest.mark.parametrize("seed", range(3))
def test_scattered_masks_keep_about_the_share(lost: float, seed: int) -> None:
    """Where there is no room for enough discs, they are made smaller, or are single pixels."""
    known = torch.rand(128, 128, generator=torch.Generator().manual_seed(100 + seed)) > lost
    wanted = 0.03 * int(known.sum())
    kept = int(held_out(known, known, 0.03, torch.Generator().manual_seed(seed)).sum())
    assert LEAST_SHARE * wanted <= kept <= 2 * wanted
