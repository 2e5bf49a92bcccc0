"""Blurs against scipy and OpenCV, border by border."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from restore_sdk.degradations import ConvolveNoise, GaussianBlur, GivenBlur, MotionBlur, Range, ThetaError, seeded
from restore_sdk.degradations.blur import _line, convolve
from restore_sdk.degradations.borders import extend, mirrored_by_slices
from restore_sdk.errors import OptionsError

SCIPY = {"zero": {"mode": "constant", "cval": 0.0}, "reflect": {"mode": "mirror"}}
OPENCV = {"zero": cv2.BORDER_CONSTANT, "reflect": cv2.BORDER_REFLECT_101}


def image(*shape: int) -> Tensor:
    return torch.rand(shape, generator=seeded(0), dtype=torch.float64)


def line(length: float, degrees: float, radius: int) -> list[list[float]]:
    kernel = _line(torch.tensor([[[length]]]), torch.tensor([[[math.radians(degrees)]]]), radius)
    return [[round(value, 4) for value in row] for row in kernel[0].tolist()]


def test_box_of_ones_by_hand() -> None:
    """Corner 9/25, edge 15/25, centre 1, as in the reference."""
    operator, x = ConvolveNoise(), torch.ones(1, 1, 9, 9)
    y = operator.apply(x, operator.sample_theta(x, seeded(0)))[0, 0]
    assert [y[0, 0].item(), y[0, 4].item(), y[4, 4].item()] == pytest.approx([0.36, 0.6, 1.0])


def test_reflection_leaves_a_constant() -> None:
    operator, x = ConvolveNoise(border="reflect"), torch.ones(1, 1, 4, 3)
    torch.testing.assert_close(operator.apply(x, operator.sample_theta(x, seeded(0))), x)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 9), st.integers(0, 9))
def test_reflection_is_numpys(height: int, width: int, rows: int, columns: int) -> None:
    x = image(1, 1, height, width)
    wanted = np.pad(x[0, 0].numpy(), ((rows, rows), (columns, columns)), mode="reflect")
    np.testing.assert_array_equal(extend(x, rows, columns, "reflect")[0, 0].numpy(), wanted)


@pytest.mark.parametrize(("height", "width"), [(9, 7), (2, 3), (1, 4), (1, 1)])
@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (1, 2), (3, 0), (8, 6), (13, 20)])
def test_reflection_by_slices_is_that_by_an_index(height: int, width: int, rows: int, columns: int) -> None:
    """The form for GPUs: the same values to the bit, the same gradient."""
    indexed = image(2, 3, height, width).float().requires_grad_()
    sliced = indexed.detach().clone().requires_grad_()
    wanted = extend(indexed, rows, columns, "reflect")
    made = mirrored_by_slices(mirrored_by_slices(sliced, rows, 2), columns, 3)
    assert torch.equal(made, wanted)
    weights = torch.rand(wanted.shape, generator=seeded(1))
    (wanted * weights).sum().backward()
    (made * weights).sum().backward()
    torch.testing.assert_close(sliced.grad, indexed.grad)


@pytest.mark.parametrize("border", ["zero", "reflect"])
@pytest.mark.parametrize("size", [(20, 17), (33, 8), (3, 3)])
def test_any_kernel_agrees_with_scipy(border: str, size: tuple[int, int]) -> None:
    x, kernels = image(2, 3, *size), torch.rand(2, 5, 7, generator=seeded(1), dtype=torch.float64)
    y = convolve(x, kernels, border)
    for n in range(2):
        for c in range(3):
            wanted = ndimage.convolve(x[n, c].numpy(), kernels[n].numpy(), **SCIPY[border])
            np.testing.assert_allclose(y[n, c].numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("border", ["zero", "reflect"])
def test_gaussian_agrees_with_scipy_and_opencv(border: str) -> None:
    x = image(1, 1, 40, 31)
    operator = GaussianBlur(1.7, border)
    y = operator.apply(x, operator.sample_theta(x, seeded(0)))[0, 0].numpy()
    np.testing.assert_allclose(y, ndimage.gaussian_filter(x[0, 0].numpy(), 1.7, truncate=4.0, **SCIPY[border]), atol=1e-6)
    side = 2 * operator.radius + 1
    wanted = cv2.GaussianBlur(x[0, 0].numpy(), (side, side), 1.7, borderType=OPENCV[border])
    np.testing.assert_allclose(y, wanted, atol=1e-6)


@pytest.mark.parametrize("border", ["zero", "reflect"])
def test_box_agrees_with_opencv(border: str) -> None:
    x, operator = image(1, 1, 12, 15), ConvolveNoise(7, border=border)
    y = operator.apply(x, operator.sample_theta(x, seeded(0)))[0, 0].numpy()
    np.testing.assert_allclose(y, cv2.blur(x[0, 0].numpy(), (7, 7), borderType=OPENCV[border]), atol=1e-6)


def test_each_image_has_its_own_sigma() -> None:
    """The second moment of a blurred dot is sigma squared, less a little for the cut at 4 sigma."""
    operator, x = GaussianBlur(Range(1.0, 3.0)), torch.zeros(6, 1, 61, 61)
    x[:, :, 30, 30] = 1
    y = operator.apply(x, operator.sample_theta(x, seeded(0)))[:, 0]
    place = torch.arange(-30.0, 31.0)
    spread = (y.sum(1) * place**2).sum(1).sqrt()
    assert spread.min() > 0.99
    assert spread.max() < 3.01
    assert spread.std() > 0.1


def test_no_blur_is_the_identity() -> None:
    x = image(1, 1, 5, 5)
    for operator in (GaussianBlur(0.0), MotionBlur(1.0), GivenBlur(3)):
        torch.testing.assert_close(operator.apply(x, operator.sample_theta(x, seeded(0))), x, atol=1e-6, rtol=0)


def test_lines_by_hand() -> None:
    fifth, third = [0.2] * 5, round(1 / 3, 4)
    assert line(5, 0, 2) == [[0] * 5, [0] * 5, fifth, [0] * 5, [0] * 5]
    assert line(5, 90, 2) == [[0, 0, 0.2, 0, 0]] * 5
    assert line(3 * math.sqrt(2), 45, 1) == [[0, 0, third], [0, third, 0], [third, 0, 0]]  # up to the right
    assert line(3 * math.sqrt(2), 135, 1) == [[third, 0, 0], [0, third, 0], [0, 0, third]]


@given(st.floats(1, 30), st.floats(0, 180))
@settings(max_examples=60, deadline=None)
def test_lines_fit_their_kernel(length: float, degrees: float) -> None:
    """Sum 1, centred, and a wider kernel adds nothing but zeros."""
    operator = MotionBlur(length, degrees)
    kernel = operator.sample_theta(torch.zeros(1, 1, 1, 1), seeded(0)).values["kernel"][0]
    wide = torch.tensor(line(length, degrees, operator.radius + 2))
    assert kernel.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(kernel, kernel.flip(0, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(wide[2:-2, 2:-2], kernel, atol=1e-4, rtol=0)


def test_a_given_kernel_is_a_true_convolution() -> None:
    kernel = torch.zeros(3, 3)
    kernel[0, 2] = 1.0  # above and to the right of the centre: the image moves there
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    operator = GivenBlur(3)
    y = operator.apply(x, operator.theta_from_kernel(kernel, x))
    assert y[0, 0, 1, 3] == 1
    assert y.sum() == 1


def test_a_kernel_of_another_size() -> None:
    with pytest.raises(ThetaError, match="GivenBlur"):
        GivenBlur(5).theta_from_kernel(torch.ones(3, 3), torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConvolveNoise(size=4),
        lambda: ConvolveNoise(size=0),
        lambda: ConvolveNoise(kernel="disc"),
        lambda: ConvolveNoise(sigma=-1),
        lambda: GaussianBlur(Range(2, 1)),
        lambda: GaussianBlur(-1),
        lambda: GaussianBlur(1e4),
        lambda: GaussianBlur(border="wrap"),
        lambda: MotionBlur(0),
        lambda: MotionBlur(angle=math.inf),
        lambda: GivenBlur(2),
    ],
)
def test_parameters_out_of_range(make: object) -> None:
    with pytest.raises(OptionsError):
        make()  # type: ignore[operator]
