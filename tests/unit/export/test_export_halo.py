"""Exact and fast halos, on filters in numpy whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from export.calibration import Calibration, calibration, texture
from export.errors import ExportError
from export.halo import LARGEST_FAST_ERROR, SMALLEST_SIDE, calibration_side, check_exact_tiles, exact_halo, find_fast_halo
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.spec import ModelSpec

Image = NDArray[np.float32]
IMAGES = calibration(None, 1, 96)


def from_above(image: Image, weights: dict[int, float]) -> Image:
    """Plus, for each distance, a share of the pixel that far above; nothing enters at the top."""
    result = image.copy()
    for distance, weight in weights.items():
        result[:, :, distance:] += np.float32(weight) * image[:, :, : image.shape[2] - distance]
    return result


def backend(weights: dict[int, float]) -> FunctionBackend:
    return FunctionBackend(ModelSpec(name="n", method="m", task="denoise", channels=1), lambda x: from_above(x, weights))


@pytest.mark.parametrize(("radius", "multiple", "halo"), [(0, 8, 0), (31, 4, 32), (32, 4, 32), (67, 8, 72), (7, 1, 7)])
def test_exact_halo_rounds_up(radius: int, multiple: int, halo: int) -> None:
    assert exact_halo(radius, multiple) == halo


@pytest.mark.parametrize(("radius", "multiple"), [(0, 1), (31, 4), (67, 8), (185, 8), (40, 6), (None, 4)])
def test_the_middle_tile_never_sees_the_whole_square(radius: int | None, multiple: int) -> None:
    side = calibration_side(radius, multiple)
    assert side % (3 * multiple) == 0
    assert side >= SMALLEST_SIDE - 3 * multiple
    if radius is not None:
        assert side // 3 + 2 * exact_halo(radius, multiple) < side


def test_exact_tiles_are_exact() -> None:
    assert check_exact_tiles(backend({6: 0.5}), IMAGES, 6, 1) == 0


def test_a_radius_that_is_too_small_is_caught() -> None:
    with pytest.raises(ExportError, match="halo of 5 px"):
        check_exact_tiles(backend({6: 0.5}), IMAGES, 5, 1)


def test_dependence_on_absolute_position_is_caught() -> None:
    """No halo helps a network that adds a ramp over its input."""

    def ramp(image: Image) -> Image:
        return image + np.linspace(0, 1, image.shape[3], dtype=np.float32)

    positional = FunctionBackend(ModelSpec(name="n", method="m", task="denoise", channels=1), ramp)
    with pytest.raises(ExportError, match="size_multiple"):
        check_exact_tiles(positional, IMAGES, 8, 1)


def test_nan_is_not_exact() -> None:
    broken = FunctionBackend(ModelSpec(name="n", method="m", task="denoise", channels=1), lambda x: x * np.float32(np.nan))
    with pytest.raises(ExportError):
        check_exact_tiles(broken, IMAGES, 1, 1)


def test_fast_halo_ignores_what_is_faint() -> None:
    """Beyond 4 px only a ten-thousandth arrives: less than a quarter step of 8 bits, 0.00098."""
    found = find_fast_halo(backend({4: 0.3, 12: 1e-4}), IMAGES, 12, 2)
    assert found.halo == 4
    assert 0 < found.error < LARGEST_FAST_ERROR


def test_fast_halo_is_the_exact_one_where_nothing_is_faint() -> None:
    found = find_fast_halo(backend({10: 0.5}), IMAGES, 10, 4)
    assert (found.halo, found.error) == (12, 0.0)


def test_without_a_finite_reach_the_best_is_kept() -> None:
    def centred(image: Image) -> Image:
        return image - image.mean(axis=(2, 3), keepdims=True)

    function = FunctionBackend(ModelSpec(name="n", method="m", task="denoise", channels=1), centred)
    found = find_fast_halo(function, calibration(None, 1, 384), None, 16)
    assert found.halo <= 64
    assert found.error > LARGEST_FAST_ERROR


def test_scale_is_respected() -> None:
    spec = ModelSpec(name="n", method="m", task="super_resolve", channels=1, scale=2)
    doubled = FunctionBackend(spec, lambda x: from_above(x, {3: 0.5}).repeat(2, axis=2).repeat(2, axis=3))
    assert check_exact_tiles(doubled, IMAGES, 3, 1) == 0
    assert find_fast_halo(doubled, Calibration((texture(1, 48, 48, sigma=10, seed=3),), "one"), 3, 1).halo == 3
