"""One noise realisation for each image, and the crops that are cut from it."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.data.crops import CropOptions, CropStream, Observation
from training.data.noise import as_planes, estimate_sigma, observe

RANGE = (0.0, 55.0)
FLAT = np.full((64, 80, 3), 128, np.uint8)


def all_crops(planes: NDArray[np.float32], side: int) -> set[bytes]:
    """Every dihedral turn of every crop, as bytes."""
    found = set()
    for top in range(planes.shape[1] - side + 1):
        for left in range(planes.shape[2] - side + 1):
            for turns in range(4):
                turned = np.rot90(planes[:, top : top + side, left : left + side], turns, (1, 2))
                found |= {turned.tobytes(), turned[:, :, ::-1].tobytes()}
    return found


def test_planes_are_unit_range() -> None:
    eight, sixteen = np.array([[[0, 51, 255]]], np.uint8), np.array([[[0, 13107, 65535]]], np.uint16)
    assert as_planes(eight).ravel() == pytest.approx([0, 0.2, 1])
    assert as_planes(sixteen).ravel() == pytest.approx([0, 0.2, 1])
    assert as_planes(eight).shape == (3, 1, 1)


def test_same_index_same_bits_whatever_came_before() -> None:
    forward = [observe(FLAT, 7, index, RANGE) for index in range(4)]
    backward = [observe(FLAT, 7, index, RANGE) for index in reversed(range(4))][::-1]
    assert [(noisy.tobytes(), sigma) for noisy, sigma in forward] == [(noisy.tobytes(), sigma) for noisy, sigma in backward]


def test_another_index_or_seed_is_another_noise() -> None:
    seen = {observe(FLAT, seed, index, RANGE)[0].tobytes() for seed in range(3) for index in range(5)}
    assert len(seen) == 15


def test_noise_has_the_strength_it_says() -> None:
    for index in range(5):
        noisy, sigma = observe(FLAT, 0, index, RANGE)
        assert 0 <= sigma <= 55 / 255
        assert float((noisy - as_planes(FLAT)).std()) == pytest.approx(sigma, rel=0.03)  # 15 360 samples: 0.6 % standard error


def test_sigma_covers_its_range() -> None:
    levels = [observe(FLAT[:1, :1], 0, index, (10.0, 20.0))[1] * 255 for index in range(200)]
    assert min(levels) >= 10
    assert max(levels) <= 20
    assert np.mean(levels) == pytest.approx(15, abs=0.6)


def test_estimated_sigma_is_close() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None, None].repeat(3, 0).repeat(256, 1)
    noisy = ramp + np.random.default_rng(0).normal(0, 0.1, ramp.shape).astype(np.float32)
    assert estimate_sigma(noisy) == pytest.approx(0.1, rel=0.02)
    assert estimate_sigma(ramp) == pytest.approx(0, abs=1e-6)


def test_frozen_crops_lie_in_the_one_observation() -> None:
    observations = [Observation(*observe(FLAT[:24, :28], 3, index, RANGE)) for index in range(2)]
    present = set().union(*(all_crops(observation.noisy, 16) for observation in observations))
    for batch in islice(CropStream(observations, CropOptions(patch=16, batch=4)), 10):
        assert all(crop.numpy().tobytes() in present for crop in batch["noisy"])
        assert "clean" not in batch


def test_redrawn_noise_is_new_each_time() -> None:
    clean = as_planes(FLAT[:16, :16])
    noisy, sigma = observe(FLAT[:16, :16], 0, 0, (25, 25))
    stream = CropStream([Observation(noisy, sigma, clean)], CropOptions(patch=16, batch=2, redraw=True))
    crops = [crop for batch in islice(stream, 5) for crop in batch["noisy"]]
    assert len({crop.numpy().tobytes() for crop in crops}) == 10
    assert float((torch.stack(crops) - float(clean[0, 0, 0])).std()) == pytest.approx(25 / 255, rel=0.05)


def test_all_eight_turns_come() -> None:
    image = np.arange(3 * 8 * 8, dtype=np.float32).reshape(3, 8, 8)
    stream = CropStream([Observation(image, 0.1)], CropOptions(patch=8, batch=8))
    assert len({crop.numpy().tobytes() for batch in islice(stream, 12) for crop in batch["noisy"]}) == 8


def test_a_stream_started_late_gives_the_later_batches() -> None:
    observations = [Observation(*observe(FLAT, 0, 0, RANGE))]
    options = CropOptions(patch=16, batch=2, gray_share=0.5, seed=5)
    whole = list(islice(CropStream(observations, options), 6))
    late = CropStream(observations, options)
    late.start = 4
    for expected, found in zip(whole[4:], islice(late, 2), strict=True):
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not torch.equal(whole[0]["noisy"], whole[4]["noisy"])


def test_gray_crops_carry_a_third_of_the_variance() -> None:
    noisy, sigma = observe(np.full((256, 256, 3), 128, np.uint8), 0, 0, (40, 40))
    stream = CropStream([Observation(noisy, sigma)], CropOptions(patch=128, batch=1, gray_share=0.5))
    batches = list(islice(stream, 40))
    gray = [batch for batch in batches if batch["gray"].item() == 1]
    assert 8 <= len(gray) <= 32
    for batch in gray:
        assert torch.equal(batch["noisy"][:, 0], batch["noisy"][:, 1])
        assert torch.equal(batch["noisy"][:, 0], batch["noisy"][:, 2])
        assert batch["sigma"].item() == pytest.approx(40 / 255 / 3**0.5)
        assert float(batch["noisy"].std()) == pytest.approx(40 / 255 / 3**0.5, rel=0.05)
    coloured = next(batch for batch in batches if batch["gray"].item() == 0)
    assert coloured["sigma"].item() == pytest.approx(40 / 255)
    assert not torch.equal(coloured["noisy"][:, 0], coloured["noisy"][:, 1])
