"""The short path of small images gives the very values of the general one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from restore_sdk.errors import BackendError
from restore_sdk.image.layout import inspect, new_output, read_tile, write_tile
from restore_sdk.image.plain import BoundBytes, bytes_of_planes, planes_of, restored_of

EXTREMES = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e7, -1e7, 1.5 / 255, 2.5 / 255, 0.5 / 65535, -0.0], np.float32)


SIDES = st.integers(1, 40) | st.sampled_from([127, 128, 129, 513])  # OpenCV takes a last axis of up to 128 for channels


def picture(height: int, width: int, dtype: type, seed: int) -> NDArray[np.generic]:
    """Random values of the whole range, seen through strides that are not those of a fresh array."""
    values = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (3, width, 2 * height), dtype, endpoint=True)
    return values.transpose(2, 1, 0)[::2]


@given(SIDES, SIDES, st.sampled_from([np.uint8, np.uint16]), st.integers(0, 9))
def test_planes_equal_those_of_the_general_path(height: int, width: int, dtype: type, seed: int) -> None:
    image = picture(height, width, dtype, seed)
    layout = inspect(image)
    assert layout.is_plain == (height * width * 3 <= 1 << 16)
    assert np.array_equal(planes_of(image, layout), read_tile(image, layout, slice(0, height), slice(0, width)))


def restored_planes(height: int, width: int, seed: int) -> NDArray[np.float32]:
    """With a few values that a network should not give."""
    random = np.random.default_rng(seed)
    planes = random.normal(0.5, 0.5, (1, 3, height, width)).astype(np.float32)
    planes.reshape(-1)[random.integers(0, planes.size, len(EXTREMES))] = EXTREMES
    return planes


@given(SIDES, SIDES, st.sampled_from([np.uint8, np.uint16]), st.integers(0, 9))
def test_results_equal_those_of_the_general_path(height: int, width: int, dtype: type, seed: int) -> None:
    planes = restored_planes(height, width, seed)
    layout = inspect(picture(height, width, dtype, seed))
    expected = new_output(np.empty(layout.shape, dtype), layout)
    write_tile(expected, layout, slice(0, height), slice(0, width), planes.copy())
    before = planes.copy()
    assert np.array_equal(restored_of(planes, layout), expected)
    assert np.array_equal(planes, before, equal_nan=True)


@given(SIDES, SIDES, st.integers(0, 9))
def test_places_that_stay_give_the_same_values(height: int, width: int, seed: int) -> None:
    image, answer = picture(height, width, np.uint8, seed), restored_planes(height, width, seed)
    given_, restored = np.zeros_like(answer), np.zeros_like(answer)
    places = BoundBytes(given_, restored, lambda: np.copyto(restored, answer))
    first, second = places.restored(image), places.restored(image)
    assert np.array_equal(given_, planes_of(image, inspect(np.zeros((1, 1, 3), np.uint8))))
    assert np.array_equal(first, bytes_of_planes(answer))
    assert np.array_equal(first, second)
    assert first.shape == image.shape
    assert not np.shares_memory(first, second)


def test_hand_values() -> None:
    image = np.array([[[0, 51, 255]]], np.uint8)
    layout = inspect(image)
    assert planes_of(image, layout).ravel().tolist() == [0.0, np.float32(0.2), 1.0]
    planes = np.array([-0.2, 0.5, 7.0], np.float32).reshape(1, 3, 1, 1)
    assert restored_of(planes, layout).tolist() == [[[0, 128, 255]]]  # 127.5 is rounded half to even


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(("shape", "dtype"), [((8, 8), "u1"), ((8, 8, 4), "u1"), ((8, 8, 3), "f4"), ((8, 8, 3), ">u2")])
def test_what_is_not_plain(shape: tuple[int, ...], dtype: str, order: str) -> None:
    assert not inspect(np.zeros(shape, dtype), order=order).is_plain
    assert not inspect(np.zeros((8, 8, 3), np.uint8), order="bgr").is_plain
    assert not inspect(np.zeros((512, 512, 3), np.uint8)).is_plain


def test_one_plane_for_three_is_refused() -> None:
    with pytest.raises(BackendError, match="3 planes of 2 x 2 pixels"):
        restored_of(np.zeros((1, 1, 2, 2), np.float32), inspect(np.zeros((2, 2, 3), np.uint8)))
