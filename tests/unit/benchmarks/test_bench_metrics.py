"""PSNR, SSIM and noise by hand-computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.images import add_noise, evenly
from benchmarks.metrics import psnr, ssim


def test_psnr_of_a_constant_error() -> None:
    clean = np.zeros((4, 5, 3), np.float32)
    assert psnr(clean + np.float32(0.1), clean) == pytest.approx(20.0, abs=1e-5)


def test_psnr_averages_squared_errors_over_channels() -> None:
    clean = np.zeros((2, 2, 3), np.float32)
    restored = clean.copy()
    restored[..., 0] = 0.3  # MSE 0.09 / 3 = 0.03
    assert psnr(restored, clean) == pytest.approx(-10 * math.log10(0.03), abs=1e-5)


def test_psnr_of_equal_images_is_infinite() -> None:
    image = np.full((3, 3), 0.5, np.float32)
    assert psnr(image, image) == math.inf


def test_psnr_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(2, 3\)"):
        psnr(np.zeros((2, 2), np.float32), np.zeros((2, 3), np.float32))


def test_ssim_of_two_flat_images() -> None:
    """Without variance only the luminance term is left: (2ab + C1) / (a^2 + b^2 + C1), C1 = 0.01^2."""
    dark, bright = np.full((16, 16, 3), 0.2, np.float32), np.full((16, 16, 3), 0.4, np.float32)
    expected = (2 * 0.2 * 0.4 + 1e-4) / (0.2**2 + 0.4**2 + 1e-4)
    assert ssim(bright, dark) == pytest.approx(expected, rel=1e-4)


def test_noise_depends_on_the_seed_only_and_scales_with_sigma() -> None:
    clean = np.full((64, 64, 3), 0.5, np.float32)
    weak, strong, other = add_noise(clean, 5, 3), add_noise(clean, 50, 3), add_noise(clean, 5, 4)
    np.testing.assert_allclose(strong - clean, 10 * (weak - clean), rtol=0, atol=1e-6)
    assert not np.array_equal(weak, other)
    assert np.std(strong - clean) == pytest.approx(50 / 255, rel=0.02)
    assert strong.max() > 1, "noise is not clipped"


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, [0, 1, 2, 3, 4, 5]), (3, [0, 2, 4]), (4, [0, 1, 3, 4]), (9, [0, 1, 2, 3, 4, 5])]
)
def test_evenly(limit: int | None, expected: list[int]) -> None:
    assert evenly(range(6), limit) == expected
