"""Tiles cover the image, share enough, and fade into one another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_sdk.dip.tiles import cut_up, fading, merged, scaled, tile_starts, trusted


@given(length=st.integers(1, 5000), side=st.integers(64, 600), share=st.floats(0.05, 0.5))
def test_one_axis_is_covered_with_enough_overlap(length: int, side: int, share: float) -> None:
    overlap = max(8, int(side * share))
    starts = tile_starts(length, side, overlap)
    assert starts[0] == 0
    assert starts[-1] + min(side, length) == length
    gaps = np.diff(starts)
    assert (gaps <= side - overlap + 1).all()  # rounding to whole pixels may cost one
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


@given(height=st.integers(8, 200), width=st.integers(8, 200), margin=st.integers(0, 3))
def test_weights_of_every_pixel_leave_the_image_as_it_is(height: int, width: int, margin: int) -> None:
    image = np.random.default_rng(0).random((2, height, width), np.float32)
    tiles = cut_up(height, width, 64, 16)
    parts = [image[:, tile.rows, tile.columns].copy() for tile in tiles]
    assert len({part.shape for part in parts}) == 1
    np.testing.assert_allclose(merged(image.shape, tiles, parts, 16, margin), image, rtol=1e-5)  # type: ignore[arg-type]


def test_two_tiles_fade_linearly() -> None:
    left, right = cut_up(1, 112, 64, 16)
    assert (left.left, right.left) == (0, 48)
    both = merged((1, 1, 112), [left, right], [np.zeros((1, 1, 64), np.float32), np.ones((1, 1, 64), np.float32)], 16, 0)
    np.testing.assert_allclose(both[0, 0, 48:64], (np.arange(16) + 0.5) / 16, atol=1e-6)
    assert both[0, 0, :48].max() == 0
    assert both[0, 0, 64:].min() == 1


def test_borders_of_the_image_do_not_fade() -> None:
    (whole,) = cut_up(20, 30, 64, 16)
    assert fading(whole, 16, 2).min() == 1
    assert trusted(whole, 3).all()


def test_what_lies_within_reach_of_a_cut_is_not_trusted() -> None:
    left, right = cut_up(10, 112, 64, 16)
    assert np.flatnonzero(~trusted(left, 3)[0]).tolist() == [61, 62, 63]
    assert np.flatnonzero(~trusted(right, 3)[5]).tolist() == [0, 1, 2]
    assert fading(left, 16, 3)[0, 61:].max() < 1e-5


def test_scaled_tiles_lie_in_the_larger_image() -> None:
    tile = scaled(cut_up(10, 112, 64, 16)[1], 4)
    assert (tile.top, tile.left, tile.height, tile.width, tile.cut) == (0, 192, 40, 256, (False, False, True, False))


@pytest.mark.parametrize(("length", "starts"), [(64, [0]), (65, [0, 1]), (112, [0, 48]), (113, [0, 24, 49])])
def test_starts_by_hand(length: int, starts: list[int]) -> None:
    assert [abs(a - b) <= 1 for a, b in zip(tile_starts(length, 64, 16), starts, strict=True)] == [True] * len(starts)
