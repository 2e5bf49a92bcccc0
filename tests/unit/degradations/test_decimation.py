"""Downsampling against the published Lanczos downsampler, Pillow and OpenCV."""

from __future__ import annotations

import weakref

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.nn import functional

from restore_sdk.degradations import Downsample, seeded
from restore_sdk.degradations.downsampling import decimation_matrix
from restore_sdk.errors import OptionsError

KERNELS = ["bicubic", "lanczos2", "lanczos3", "area"]
PILLOW = {"bicubic": Image.Resampling.BICUBIC, "lanczos3": Image.Resampling.LANCZOS}


def down(operator: Downsample, x: Tensor) -> Tensor:
    return operator.apply(x, operator.sample_theta(x, seeded(0)))


def image(height: int, width: int) -> Tensor:
    return torch.rand(1, 1, height, width, generator=seeded(0), dtype=torch.float64)


def published_kernel(factor: int) -> np.ndarray:
    """Deep Image Prior's Lanczos-2 kernel with phase 1/2: 4 * factor taps, product of two sines over squares, sum 1."""
    taps = 4 * factor
    distance = np.abs(np.arange(1, taps + 1) + 0.5 - (taps + 2) / 2) / factor
    values = 2 * np.sin(np.pi * distance) * np.sin(np.pi * distance / 2) / (np.pi * distance) ** 2
    return np.outer(values, values) / values.sum() ** 2


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_lanczos_is_deep_image_priors(factor: int) -> None:
    """A strided convolution over replicated borders, (taps - factor) / 2 pixels wide."""
    x = image(8 * factor, 5 * factor)
    kernel = torch.from_numpy(published_kernel(factor))[None, None]
    margin = (4 * factor - factor) // 2
    wanted = functional.conv2d(functional.pad(x, (margin,) * 4, mode="replicate"), kernel, stride=factor)
    torch.testing.assert_close(down(Downsample(factor), x), wanted, atol=1e-12, rtol=0)


def test_lanczos_weights_by_hand() -> None:
    """Factor 2: sinc(t) sinc(t / 2) at t = 1/4, 3/4, 5/4, 7/4, for example 0.900316 * 0.974495; the eight sum to 2.02014."""
    half = np.array([0.877353, 0.235346, -0.084725, -0.017905]) / 2.02014
    row = decimation_matrix(16, 8, "lanczos2", "replicate")[4]
    assert row[5:13].tolist() == pytest.approx([*half[::-1], *half], abs=2e-6)
    assert row[:5].abs().sum() + row[13:].abs().sum() == 0


@pytest.mark.parametrize("kernel", PILLOW)
@pytest.mark.parametrize(("size", "factor"), [((24, 36), 4), ((25, 31), 4), ((17, 9), 3), ((11, 64), 2), ((5, 5), 8)])
def test_bicubic_and_lanczos3_are_pillows(kernel: str, size: tuple[int, int], factor: int) -> None:
    x = image(*size).float()
    y = down(Downsample(factor, kernel, "renormalise"), x)[0, 0]
    wanted = Image.fromarray(x[0, 0].numpy(), mode=None).resize((y.shape[1], y.shape[0]), PILLOW[kernel])
    np.testing.assert_allclose(y.numpy(), np.asarray(wanted), atol=1e-6)


@pytest.mark.parametrize(("size", "factor"), [((24, 36), 4), ((25, 31), 4), ((17, 9), 3), ((4, 6), 2)])
def test_area_is_opencvs(size: tuple[int, int], factor: int) -> None:
    x = image(*size).float()
    y = down(Downsample(factor, "area"), x)[0, 0].numpy()
    np.testing.assert_allclose(y, cv2.resize(x[0, 0].numpy(), y.shape[::-1], interpolation=cv2.INTER_AREA), atol=1e-6)


def test_area_by_hand() -> None:
    x = torch.arange(12.0).view(1, 1, 2, 6)
    assert down(Downsample(2, "area"), x).flatten().tolist() == [3.5, 5.5, 7.5]
    assert decimation_matrix(5, 2, "area", "replicate").tolist() == [[0.4, 0.4, 0.2, 0, 0], [0, 0, 0.2, 0.4, 0.4]]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.sampled_from(KERNELS), st.sampled_from(["replicate", "renormalise"]))
def test_a_constant_stays(length: int, factor: int, kernel: str, edge: str) -> None:
    matrix = decimation_matrix(length, max(1, length // factor), kernel, edge)
    torch.testing.assert_close(matrix.sum(1), torch.ones(len(matrix), dtype=torch.float64))
    torch.testing.assert_close(matrix, matrix.flip(0, 1))  # no side is preferred


@pytest.mark.parametrize("kernel", KERNELS)
def test_factor_1_is_the_identity(kernel: str) -> None:
    x = image(7, 5)
    torch.testing.assert_close(down(Downsample(1, kernel), x), x)


def test_a_ramp_stays_a_ramp() -> None:
    x = torch.arange(32.0).expand(1, 1, 8, 32)
    for kernel in KERNELS:
        torch.testing.assert_close(down(Downsample(4, kernel), x)[0, 0, 0, 3:5], torch.tensor([13.5, 17.5]))


@pytest.mark.parametrize("bad", [{"factor": 0}, {"factor": 2.5}, {"kernel": "nearest"}, {"edge": "wrap"}])
def test_parameters_out_of_range(bad: dict[str, object]) -> None:
    with pytest.raises(OptionsError):
        Downsample(**bad)  # type: ignore[arg-type]


def test_matrices_that_are_held_stay_the_same_and_others_are_let_go() -> None:
    operator, like = Downsample(4), torch.zeros(())
    held = operator.matrices((1, 3, 64, 48), like)
    passing = [weakref.ref(operator.matrices((1, 3, side, side), like)[0]) for side in range(80, 144, 4)]
    again = operator.matrices((1, 3, 64, 48), like)
    assert all(one is other for one, other in zip(held, again, strict=True))
    assert 0 < sum(one() is not None for one in passing) <= 8
