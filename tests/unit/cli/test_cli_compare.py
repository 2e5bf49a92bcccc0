from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restore_sdk.cli import compare
from restore_sdk.cli.compare import compare_strip, crop_size, displayable, panel_size, telling_region, write_strip


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (np.full((2, 3), 7, np.uint8), 7),
        (np.full((2, 3, 1), 65535, np.uint16), 255),
        (np.full((2, 3, 3), 257 * 100, np.uint16), 100),
        (np.full((2, 3, 3), 0.5, np.float32), 128),
        (np.full((2, 3, 3), 1.7, np.float16), 255),
        (np.full((2, 3, 3), -0.2, np.float32), 0),
        (np.dstack([np.full((2, 3, 3), 200, np.uint8), np.full((2, 3), 255, np.uint8)]), 200),
        (np.dstack([np.full((2, 3, 3), 200, np.uint8), np.zeros((2, 3), np.uint8)]), 128),
    ],
    ids=["gray", "gray16", "rgb16", "float", "above", "below", "opaque", "transparent"],
)
def test_every_kind_of_image_is_shown_as_8_bit_rgb(image: np.ndarray[Any, Any], shown: int) -> None:
    picture = displayable(image)
    assert picture.shape == (2, 3, 3)
    assert picture.dtype == np.uint8
    assert np.all(picture == shown)


@pytest.mark.parametrize(
    ("width", "height", "panel"),
    [(600, 400, (600, 400)), (1280, 800, (640, 400)), (1000, 8000, (100, 800)), (64, 48, (320, 240)), (1, 800, (1, 800))],
)
def test_panel_sizes(width: int, height: int, panel: tuple[int, int]) -> None:
    assert panel_size(width, height) == panel


def test_crop_fills_the_panel_at_four_times() -> None:
    assert crop_size(np.zeros((1600, 2560, 3), np.uint8), (640, 400)) == (99, 160)
    assert crop_size(np.zeros((159, 2560, 3), np.uint8), (640, 40)) == (0, 0)


def test_the_region_is_where_noise_lies_on_detail() -> None:
    clean = np.full((200, 300, 3), 128, np.uint8)
    clean[120:180:4, 200:280] = 230  # stripes
    noisy = clean.copy()
    noisy[20:80, 20:100] += 20  # a change without detail
    noisy[110:190, 190:290] -= 20
    region = telling_region(noisy, clean, 40, 60)
    assert region is not None
    assert (region.height, region.width) == (40, 60)
    assert 110 <= region.top <= 150
    assert 190 <= region.left <= 230


def test_the_region_of_a_large_picture_is_found_at_a_reduced_size() -> None:
    clean = np.full((2000, 3000, 3), 128, np.uint8)
    clean[1500:1900:8, 2400:2900] = 230
    noisy = clean.copy()
    noisy[1500:1900, 2400:2900] -= 20
    region = telling_region(noisy, clean, 99, 160)
    assert region is not None
    assert 1480 <= region.top <= 1801
    assert 2380 <= region.left <= 2740


def test_identical_pictures_have_a_region_too() -> None:
    flat = np.full((200, 300, 3), 128, np.uint8)
    assert telling_region(flat, flat, 40, 60) == compare.Region(0, 0, 40, 60)


def test_strip_shows_both_pictures_and_the_crops() -> None:
    before, after = np.full((400, 600, 3), 40, np.uint8), np.full((400, 600, 3), 210, np.uint8)
    strip = compare_strip(before, after)
    crop_height = round(93 * 600 / 150)  # 600 / 4 = 150 wide, 0.62 x 150 = 93 high
    assert strip.shape == (
        compare.HEADER + 400 + compare.DIVIDER + crop_height + compare.CAPTION + compare.MARGIN // 2,
        2 * compare.MARGIN + 1200 + compare.DIVIDER,
        3,
    )
    middle, crop_row = compare.HEADER + 300, compare.HEADER + 400 + compare.DIVIDER + crop_height // 2
    left, right = compare.MARGIN + 300, compare.MARGIN + 600 + compare.DIVIDER + 300
    for row in (middle, crop_row):
        assert strip[row, left].tolist() == [40, 40, 40]
        assert strip[row, right].tolist() == [210, 210, 210]
        assert strip[row, compare.MARGIN + 600 + compare.DIVIDER // 2].tolist() == list(compare.DIVIDER_COLOUR)
    assert np.any(strip[: compare.HEADER] != compare.BACKGROUND)  # the labels
    assert np.any(strip[-compare.CAPTION :] != compare.BACKGROUND)


def test_crop_is_enlarged_without_smoothing() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (640, 640, 3), dtype=np.uint8)
    strip = compare_strip(image, image)
    top = compare.HEADER + 640 + compare.DIVIDER
    crop = strip[top : top + 396, compare.MARGIN : compare.MARGIN + 640]
    assert np.array_equal(crop, np.repeat(np.repeat(crop[::4, ::4], 4, axis=0), 4, axis=1))


def test_small_pictures_get_no_crop_and_large_ones_are_reduced() -> None:
    small = compare_strip(np.zeros((50, 80, 3), np.uint8), np.zeros((50, 80, 3), np.uint8))
    assert small.shape[0] == compare.HEADER + 200 + compare.CAPTION + compare.MARGIN // 2
    large = compare_strip(np.zeros((3000, 4000), np.uint8), np.zeros((3000, 4000), np.uint8))
    assert large.shape[1] == 2 * compare.MARGIN + 1280 + compare.DIVIDER


def test_a_picture_of_half_the_size_is_enlarged_to_the_result() -> None:
    strip = compare_strip(np.zeros((200, 300, 3), np.uint8), np.zeros((400, 600, 3), np.uint8))
    assert strip.shape[1] == 2 * compare.MARGIN + 1200 + compare.DIVIDER


def test_written_strip_is_a_png(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    path = tmp_path / "new" / "strip.png"
    write_strip(path, image, image)
    with Image.open(path) as written:
        assert written.format == "PNG"
        assert np.array_equal(np.asarray(written), compare_strip(image, image))
    assert [entry.name for entry in path.parent.iterdir()] == ["strip.png"]
