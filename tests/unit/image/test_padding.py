from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_sdk.image.padding import first_source, reflect_border, reflected_indices


def test_reflection_by_hand() -> None:
    assert reflected_indices(4, 11).tolist() == [2, 1, 0, 1, 2, 3, 2]
    assert reflected_indices(2, 6).tolist() == [0, 1, 0, 1]
    assert reflected_indices(1, 4).tolist() == [0, 0, 0]
    assert reflected_indices(5, 5).tolist() == []


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 90))
def test_indices_are_those_of_numpy(length: int, beyond: int) -> None:
    expected = np.pad(np.arange(length), (0, beyond), mode="reflect")[length:]
    assert reflected_indices(length, length + beyond).tolist() == expected.tolist()


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 30), st.integers(0, 30))
def test_borders_are_those_of_numpy(height: int, width: int, below: int, right: int) -> None:
    image = np.arange(2 * height * width, dtype=np.float32).reshape(1, 2, height, width)
    planes = np.full((1, 2, height + below, width + right), np.nan, np.float32)
    planes[..., :height, :width] = image
    reflect_border(planes, height, width)
    assert np.array_equal(planes, np.pad(image, ((0, 0), (0, 0), (0, below), (0, right)), mode="reflect"))


@pytest.mark.parametrize(
    ("start", "stop", "length", "first"),
    [(8, 16, 20, 8), (8, 20, 20, 8), (16, 24, 20, 15), (16, 24, 17, 9), (0, 8, 1, 0), (0, 8, 3, 0), (8, 24, 20, 8)],
)
def test_first_source_by_hand(start: int, stop: int, length: int, first: int) -> None:
    assert first_source(start, stop, length) == first


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 39), st.integers(1, 30))
def test_every_reflected_pixel_lies_after_the_first_source(length: int, start: int, size: int) -> None:
    start = min(start, length - 1)
    stop = start + size
    first = first_source(start, stop, length)
    positions = [*range(start, min(stop, length)), *reflected_indices(length, max(stop, length))]
    assert first <= min(positions)
    if stop - length <= length - 1:
        assert first == min(positions)
