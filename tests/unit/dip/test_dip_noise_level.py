"""The noise of an image from the image alone."""

from __future__ import annotations

import math
from statistics import NormalDist

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from restore_sdk.dip.noise_level import _CLIPPED, _FLAT, _coefficients, _patches
from restore_sdk.dip.noise_level import noise_level as estimated

SIDE = 192


def noise_level(image: torch.Tensor, known: torch.Tensor | None = None) -> float:
    return estimated(image, known).sigma


def noise(sigma: float, *, channels: int = 3, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, sigma, (channels, SIDE, SIDE))


def textured(share: float) -> NDArray[np.float64]:
    """Gray, with hard blocks of two pixels of random brightness over so much of it."""
    blocks = np.random.default_rng(9).uniform(0.2, 0.8, (3, SIDE // 2, SIDE // 2)).repeat(2, 1).repeat(2, 2)
    blocks[:, :, round(SIDE * share) :] = 0.5
    return blocks


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.2])
def test_of_a_smooth_image(sigma: float) -> None:
    """Values outside [0, 1] are what they are."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    smooth = np.stack([0.5 + 0.4 * np.sin(rows / 29 + phase) * np.cos(columns / 35) for phase in range(3)])
    assert noise_level(torch.from_numpy(smooth + noise(sigma))) == pytest.approx(sigma, rel=0.04)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_texture_is_not_noise(share: float) -> None:
    noisy = torch.from_numpy(textured(share) + noise(0.04))
    corners = noisy[:, 1:, 1:] - noisy[:, :-1, 1:] - noisy[:, 1:, :-1] + noisy[:, :-1, :-1]
    assert float(corners.abs().median()) / 2 / 0.6745 > 1.08 * 0.04  # what all coefficients together say
    assert noise_level(noisy) == pytest.approx(0.04, rel=0.04)


def test_without_noise_there_is_none() -> None:
    assert noise_level(torch.from_numpy(textured(0.5))) == 0
    assert noise_level(torch.zeros(3, 1, 9)) == 0


def test_levels_of_channels_are_joined_as_a_residual_joins_them() -> None:
    noisy = 0.5 + np.array([0.02, 0.04, 0.06])[:, None, None] * noise(1.0)
    assert noise_level(torch.from_numpy(noisy)) == pytest.approx(math.sqrt((4 + 16 + 36) / 3) / 100, rel=0.03)


def test_gray_as_colour_is_as_noisy_as_gray() -> None:
    gray = torch.from_numpy(0.5 + noise(0.1, channels=1))
    assert noise_level(gray.expand(3, -1, -1)) == pytest.approx(noise_level(gray))


def test_clipped_noise_is_less_noise() -> None:
    """Black noise keeps 1/2 - 1/(2 pi) of its variance."""
    half = np.full((3, SIDE, SIDE), 0.5)
    half[:, :, SIDE // 2 :] = 0
    noisy = torch.from_numpy(np.clip(half + noise(0.1), 0, 1))
    assert noise_level(noisy) == pytest.approx(0.1 * math.sqrt((1 + 0.5 - 1 / (2 * math.pi)) / 2), rel=0.03)


@pytest.mark.parametrize("mean", [-2, -1, -0.5, 0, 0.5, 1, 2, 3])
def test_the_share_that_clipping_leaves(mean: float) -> None:
    """max(0, x) of a normal x of variance 1: E = m P + d and E^2 = (m^2 + 1) P + m d, P = Phi(m), d its density."""
    normal = NormalDist()
    positive, density = normal.cdf(mean), normal.pdf(mean)
    variance = (mean**2 + 1) * positive + mean * density - (mean * positive + density) ** 2
    assert positive**_CLIPPED == pytest.approx(variance, abs=0.02)


def test_patches_of_noise_alone_count_as_flat() -> None:
    everywhere = torch.ones(SIDE, SIDE, dtype=torch.bool)
    channels = [torch.from_numpy(noise(1.0, channels=1, seed=seed))[0] for seed in range(20)]
    energies = torch.stack([_patches(channel, _coefficients(channel), everywhere).energies for channel in channels])
    assert float(energies.mean()) == pytest.approx(35, rel=0.01)
    assert float(energies.var()) == pytest.approx(70.5, rel=0.05)
    assert 1e-6 < float((energies > _FLAT).double().mean()) < 1e-4


def test_only_known_pixels_count() -> None:
    noisy = torch.from_numpy(0.5 + noise(0.1, channels=1))
    known = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    known[:, :, 32:] = False
    spoiled = torch.where(known, noisy, torch.rand(1, SIDE, SIDE) * 50)
    assert noise_level(spoiled, known) == pytest.approx(0.1, rel=0.1)
    assert noise_level(spoiled, torch.zeros_like(known)) == 0


def test_scattered_pixels_without_a_whole_patch_are_enough() -> None:
    known = torch.from_numpy(np.random.default_rng(2).random((1, SIDE, SIDE)) > 0.3)
    noisy = torch.from_numpy(0.5 + noise(0.1))
    assert noise_level(torch.where(known, noisy, 7.0), known) == pytest.approx(0.1, rel=0.1)


def test_an_image_smaller_than_a_patch() -> None:
    assert noise_level(torch.from_numpy(0.5 + noise(0.1)[:, :6])) == pytest.approx(0.1, rel=0.2)


def test_noise_that_grows_with_the_light() -> None:
    """Dark, middle and bright thirds with noise of their own."""
    light, sigma = np.repeat([0.2, 0.5, 0.8], [64, 64, 64]), np.repeat([0.02, 0.04, 0.06], [64, 64, 64])
    found = estimated(torch.from_numpy(light + sigma * noise(1.0)))
    assert found.white
    assert found.sigma == pytest.approx(math.sqrt((4 + 16 + 36) / 3) / 100, rel=0.05)


@pytest.mark.parametrize("radius", [1.0, 2.0])
def test_noise_with_a_grain_is_not_white(radius: float) -> None:
    grain = cv2.GaussianBlur(noise(0.3).transpose(1, 2, 0), (0, 0), radius).transpose(2, 0, 1)
    assert not estimated(torch.from_numpy(0.5 + grain)).white
    assert estimated(torch.from_numpy(0.5 + noise(0.05))).white


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_have_what_clipping_left(level: float) -> None:
    """No patch is without a clipped value, so all coefficients count, which have lost about as much."""
    noisy = torch.from_numpy(np.clip(level + noise(0.1), 0, 1))
    assert noise_level(noisy) == pytest.approx(0.1 * math.sqrt(0.5 - 1 / (2 * math.pi)), rel=0.15)


def test_a_quiet_part_does_not_speak_for_all() -> None:
    """Of an image with a single band."""
    uneven = 0.5 + noise(0.1)[:, :96, :96]
    uneven[:, :30] = 0.5 + noise(0.03)[:, :30, :96]
    assert not estimated(torch.from_numpy(uneven)).white


def test_bytes_do_not_come_in_steps() -> None:
    levels = [noise_level(torch.from_numpy(np.rint(128 + noise(sigma)) / 255)) * 255 for sigma in (3.0, 3.2, 3.4, 3.6)]
    assert levels == pytest.approx([3.0, 3.2, 3.4, 3.6], rel=0.03)


def test_a_flat_drawing_has_no_noise() -> None:
    drawing = np.full((3, SIDE, SIDE), 0.5)
    drawing[:, 20:90, 30:150] = textured(1.0)[:, 20:90, 30:150]
    assert estimated(torch.from_numpy(drawing)) == (0.0, False)
