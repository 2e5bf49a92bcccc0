"""Noise against its formula. Tolerances are five standard errors of the estimate, computed beside each."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from restore_sdk.degradations import (
    ConvolveNoise,
    GaussianNoise,
    ImpulseNoise,
    Operator,
    PoissonGaussianNoise,
    PoissonNoise,
    Range,
    seeded,
)
from restore_sdk.errors import OptionsError

COUNT = 4 * 200 * 200
LEVEL = 0.4


def noise(operator: Operator, level: float = LEVEL, shape: tuple[int, ...] = (4, 1, 200, 200)) -> Tensor:
    return operator.noise(torch.full(shape, level, dtype=torch.float64), seeded(1)).flatten()


def check_moments(values: Tensor, mean: float, variance: float, kurtosis: float = 3.0) -> None:
    """`kurtosis` of the distribution decides how well a sample's variance is known: variance * sqrt((kurtosis - 1) / n)."""
    assert abs(values.mean().item() - mean) < 5 * math.sqrt(variance / len(values))
    assert abs(values.var().item() - variance) < 5 * variance * math.sqrt((kurtosis - 1) / len(values))


@pytest.mark.parametrize("operator", [GaussianNoise(0.15), ConvolveNoise()])
def test_gaussian(operator: Operator) -> None:
    values = noise(operator)
    check_moments(values, LEVEL, 0.15**2)
    beyond = ((values - LEVEL).abs() > 2 * 0.15).double().mean().item()
    assert abs(beyond - 0.0455) < 5 * math.sqrt(0.0455 / COUNT)


def test_gaussian_is_white() -> None:
    values = noise(GaussianNoise(1.0), 0.0).view(4, 200, 200)
    for pair in ((values[:, :, 1:], values[:, :, :-1]), (values[:, 1:], values[:, :-1]), (values[1:], values[:-1])):
        assert abs((pair[0] * pair[1]).mean()) < 5 / math.sqrt(pair[0].numel())


def test_each_image_has_its_own_level() -> None:
    stds = noise(GaussianNoise(Range(0.1, 0.5))).view(4, -1).std(1)
    assert stds.min() > 0.099
    assert stds.max() < 0.503
    assert stds.unique().numel() == 4
    assert stds.std() > 0.01


@pytest.mark.parametrize("peak", [2.0, 30.0])
def test_poisson(peak: float) -> None:
    values = noise(PoissonNoise(peak))
    rate = peak * LEVEL
    check_moments(values, LEVEL, LEVEL / peak, 3 + 1 / rate)
    torch.testing.assert_close(values * peak, (values * peak).round())
    none = (values == 0).double().mean().item()
    assert abs(none - math.exp(-rate)) < 5 * math.sqrt(math.exp(-rate) / COUNT) + 1e-4


def test_poisson_of_nothing_is_nothing() -> None:
    assert noise(PoissonNoise(), 0.0).abs().max() == 0
    assert noise(PoissonNoise(), -0.5).abs().max() == 0


def test_poisson_gaussian() -> None:
    check_moments(noise(PoissonGaussianNoise(30.0, 0.05)), LEVEL, LEVEL / 30 + 0.05**2)


@pytest.mark.parametrize("channels", [1, 3])
def test_salt_and_pepper(channels: int) -> None:
    values = noise(ImpulseNoise(0.2), shape=(4, channels, 200, 200)).view(4, channels, 200, 200)
    for value in (0.0, 1.0):
        share = (values[:, 0] == value).double().mean().item()
        assert abs(share - 0.1) < 5 * math.sqrt(0.1 * 0.9 / COUNT)
    assert torch.equal(values[:, 0], values[:, -1])
    assert set(values.unique().tolist()) == {0.0, LEVEL, 1.0}


def test_impulses_of_any_colour() -> None:
    values = noise(ImpulseNoise(0.2, "uniform"), -1.0, (4, 3, 200, 200)).view(4, 3, 200, 200)
    hit = values[:, 0] >= 0
    assert abs(hit.double().mean().item() - 0.2) < 5 * math.sqrt(0.2 * 0.8 / COUNT)
    assert torch.equal(hit, values[:, 2] >= 0)
    drawn = values[:, 0][hit]
    check_moments(drawn, 0.5, 1 / 12, 1.8)
    assert not torch.equal(drawn, values[:, 1][hit])


def test_gradients() -> None:
    """1 through added noise and through the mean of counts, 0 where a value was replaced."""
    for operator in (GaussianNoise(), PoissonNoise(), PoissonGaussianNoise(), ConvolveNoise()):
        y = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
        operator.noise(y, seeded(0)).sum().backward()
        assert y.grad is not None
        assert y.grad.unique().tolist() == [1.0]
    y = torch.full((1, 1, 40, 40), 0.5, requires_grad=True)
    noisy = ImpulseNoise(0.3).noise(y, seeded(0))
    noisy.sum().backward()
    assert y.grad is not None
    assert torch.equal(y.grad, (noisy == 0.5).float())


def test_the_same_numbers_in_any_precision() -> None:
    x = torch.full((1, 1, 8, 8), 0.5)
    single, double = (GaussianNoise().noise(x.to(dtype), seeded(0)) for dtype in (torch.float32, torch.float64))
    torch.testing.assert_close(single.double(), double, atol=1e-7, rtol=0)


@pytest.mark.parametrize("operator", [GaussianNoise(1e6), ConvolveNoise(sigma=1e6), PoissonGaussianNoise(sigma=1e6)])
def test_the_strongest_noise_is_still_numbers(operator: Operator) -> None:
    x = torch.rand(1, 3, 8, 8)
    assert torch.isfinite(operator.measure(x, operator.sample_theta(x, seeded(0)), seeded(1))).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: GaussianNoise(-0.1),
        lambda: GaussianNoise(math.inf),
        lambda: GaussianNoise("0.1"),
        lambda: GaussianNoise(1e308),
        lambda: GaussianNoise(Range(0.1, 1e308)),
        lambda: ConvolveNoise(sigma=1e308),
        lambda: PoissonGaussianNoise(sigma=1e308),
        lambda: PoissonNoise(0),
        lambda: PoissonNoise(1e8),
        lambda: PoissonGaussianNoise(sigma=-1),
        lambda: ImpulseNoise(2),
        lambda: ImpulseNoise(kind="pepper"),
    ],
)
def test_parameters_out_of_range(make: object) -> None:
    with pytest.raises(OptionsError):
        make()  # type: ignore[operator]
