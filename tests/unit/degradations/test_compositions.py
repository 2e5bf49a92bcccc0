"""Several steps: their order, their noise, what is known of y in the end."""

from __future__ import annotations

import pytest
import torch

from restore_sdk.degradations import (
    Clip,
    Composition,
    Downsample,
    DropRows,
    GaussianBlur,
    GaussianNoise,
    GivenMask,
    Identity,
    InnerNoiseError,
    Jpeg,
    PoissonNoise,
    RemovePixel,
    ThetaError,
    compose,
    parse,
    seeded,
)
from restore_sdk.errors import OptionsError


def image(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=seeded(0))


def test_the_first_step_is_first() -> None:
    x = image(2, 3, 16, 20)
    operator = compose(RemovePixel(0.5), Downsample(4))
    theta = operator.sample_theta(x, seeded(1))
    masked = RemovePixel(0.5).apply(x, theta.parts[0])
    assert torch.equal(operator.apply(x, theta), Downsample(4).apply(masked, theta.parts[1]))
    assert theta.parts[1].shape == (2, 3, 16, 20)
    turned = compose(Downsample(4), RemovePixel(0.5))
    assert turned.sample_theta(x, seeded(1)).parts[1].shape == (2, 3, 4, 5)
    assert turned.output_shape((2, 3, 16, 20)) == (2, 3, 4, 5)


def test_noise_at_the_end_is_noise_on_y() -> None:
    operator, x = parse("remove-pixel+poisson-noise+gaussian-noise"), image(1, 3, 8, 8)
    theta = operator.sample_theta(x, seeded(1))
    y = operator.apply(x, theta)
    assert torch.equal(operator.noise(y, seeded(2)), operator.measure(x, theta, seeded(2)))
    rng = seeded(2)
    assert torch.equal(operator.noise(y, seeded(2)), GaussianNoise().noise(PoissonNoise().noise(y, rng), rng))


def test_noise_before_another_step_arises_there() -> None:
    operator, x = compose(GaussianNoise(0.5), GivenMask(), Clip()), image(1, 1, 8, 8)
    theta = operator.sample_theta(x, seeded(1))
    hidden = GivenMask().theta_from_mask(torch.arange(8) < 4, x)
    theta = type(theta)(theta.shape, {}, (theta.parts[0], hidden, theta.parts[2]))
    y = operator.measure(x, theta, seeded(2))
    assert y[..., 4:].abs().max() == 0
    assert y.min() >= 0
    assert y.max() <= 1
    assert torch.equal(operator.apply(x, theta)[..., :4], x[..., :4])
    with pytest.raises(InnerNoiseError, match="measure"):
        operator.noise(y, seeded(2))


def test_kept_by_all_masks_after_the_last_blur() -> None:
    x = torch.ones(2, 3, 16, 16)

    def kept(operator: Composition) -> torch.Tensor | None:
        return operator.kept(operator.sample_theta(x, seeded(0)))

    assert kept(Composition((GaussianBlur(), GaussianNoise()))) is None
    assert kept(Composition((RemovePixel(), GaussianBlur()))) is None
    two = Composition((RemovePixel(0.5), GaussianBlur(), RemovePixel(0.5), DropRows(0.5), GaussianNoise()))
    theta = two.sample_theta(x, seeded(0))
    masks = [step.kept(part) for step, part in zip(two.steps, theta.parts, strict=True)]
    assert torch.equal(two.kept(theta), masks[2] & masks[3])


def test_one_is_itself_and_nests_are_taken_apart() -> None:
    assert compose(Clip()) == Clip()
    assert compose(compose(Clip(), Identity()), Jpeg()) == Composition((Clip(), Identity(), Jpeg()))
    with pytest.raises(OptionsError):
        Composition((compose(Clip(), Identity()), Jpeg()))
    with pytest.raises(OptionsError):
        Composition(())


def test_flags() -> None:
    operator = compose(GaussianBlur(), Jpeg(), GaussianNoise())
    assert (operator.linear, operator.differentiable, operator.noisy, operator.mixes, operator.changes) == (
        False,
        False,
        True,
        True,
        True,
    )
    assert not compose(GaussianNoise(), Identity()).changes
    assert compose(GaussianBlur(), Downsample()).linear


def test_a_theta_of_another_composition() -> None:
    x = image(1, 1, 8, 8)
    theta = compose(Clip(), RemovePixel()).sample_theta(x, seeded(0))
    with pytest.raises(ThetaError, match="2 parts"):
        compose(Clip(), RemovePixel(), Clip()).apply(x, theta)
    with pytest.raises(ThetaError, match="of no step"):
        compose(Clip(), Clip()).theta_from_arrays((1, 1, 8, 8), {"2/keep": theta.arrays()["1/keep"]})
    with pytest.raises(ThetaError, match="was not drawn by"):
        compose(RemovePixel(), Clip()).apply(x, theta)
