"""What every corruption must do, run on every one of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from restore_sdk.degradations import (
    OPERATORS,
    Composition,
    NotDifferentiableError,
    NotLinearError,
    Operator,
    Recording,
    Theta,
    ThetaError,
    load_theta,
    parse,
    save_theta,
    seeded,
    stack_thetas,
)
from restore_sdk.errors import ImageShapeError, ImageTypeError

SPECS = [
    *OPERATORS,
    "remove-pixel:p=0.5,bernoulli",
    "remove-pixel:p=0.5,rescale",
    "remove-pixel:p=0.2..0.6",
    "remove-pixel-channel:p=0.2..0.6,bernoulli",
    "remove-pixel-channel:p=0.3,bernoulli",
    "remove-pixel:p=0.5,fill=0.5",
    "patch-band:axis=columns",
    "drop-columns:bernoulli",
    "convolve-noise:kernel=gaussian,border=reflect",
    "gaussian-blur:sigma=0.5..2,border=zero",
    "gaussian-noise:sigma=0.05..0.2",
    "motion-blur:length=1..7",
    "impulse-noise:kind=uniform",
    "downsample:factor=3,kernel=bicubic,edge=renormalise",
    "downsample:factor=2,kernel=lanczos3",
    "downsample:factor=2,kernel=area",
    "jpeg:quality=5..90",
    "gaussian-blur+downsample:factor=2+gaussian-noise",
    "remove-pixel+poisson-noise+gaussian-noise",
    "gaussian-noise+jpeg",
    "drop-rows+drop-columns",
]
# Each image of a batch draws its own; with the default parameters the others have nothing to draw.
DRAWING = [
    spec for spec in SPECS if any(step in spec for step in ("drop", "remove", "patch", "brush", "text", "motion", "..", "jpeg:"))
]
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 19), st.integers(1, 19))


@pytest.fixture(params=SPECS)
def operator(request: pytest.FixtureRequest) -> Operator:
    return parse(request.param)


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=seeded(seed), dtype=dtype)


def equal(first: Theta, second: Theta) -> bool:
    one, two = first.tensors(), second.tensors()
    return first.shape == second.shape and one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_description_is_a_way_back(operator: Operator) -> None:
    assert parse(operator.describe()) == operator
    assert parse(operator.describe()).describe() == operator.describe()


@settings(max_examples=15, deadline=None)
@given(shape=SHAPES)
@pytest.mark.parametrize("spec", SPECS)
def test_any_size_and_number_of_channels(spec: str, shape: tuple[int, ...]) -> None:
    operator, x = parse(spec), images(*shape)
    theta = operator.sample_theta(x, seeded(1))
    y = operator.apply(x, theta)
    assert tuple(y.shape) == operator.output_shape(theta.shape)
    assert (y.dtype, y.device) == (x.dtype, x.device)
    measured = operator.measure(x, theta, seeded(2))
    assert measured.shape == y.shape
    assert measured.isfinite().all()


def test_a_seed_gives_the_same_theta_whatever_the_values_or_dtype(operator: Operator) -> None:
    theta = operator.sample_theta(images(2, 3, 24, 31), seeded(5))
    assert equal(theta, operator.sample_theta(torch.full((2, 3, 24, 31), torch.nan, dtype=torch.float64), seeded(5)))
    x = images(2, 3, 24, 31)
    assert torch.equal(operator.measure(x, theta, seeded(6)), operator.measure(x, theta, seeded(6)))


def test_only_the_given_generator_is_used(operator: Operator) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    x = images(2, 3, 9, 11)
    operator.measure(x, operator.sample_theta(x, seeded(0)), seeded(1))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


@pytest.mark.parametrize("spec", DRAWING)
def test_images_of_a_batch_draw_their_own(spec: str) -> None:
    operator, x = parse(spec), images(1, 3, 32, 33).expand(3, 3, 32, 33)
    y = operator.apply(x, operator.sample_theta(x, seeded(3)))
    if "sigma=0.05..0.2" in spec:  # drawn with the noise
        y = operator.noise(x, seeded(3))
    assert not torch.equal(y[0], y[1])
    assert not torch.equal(y[1], y[2])


def test_each_image_is_corrupted_by_its_own_theta(operator: Operator) -> None:
    x = images(3, 3, 16, 21)
    theta = operator.sample_theta(x, seeded(3))
    together = operator.apply(x, theta)
    for k in range(3):
        torch.testing.assert_close(together[k : k + 1], operator.apply(x[k : k + 1], theta[k : k + 1]), atol=1e-6, rtol=0)
    assert equal(stack_thetas([theta[:1], theta[1:3]]), theta)


def test_theta_is_replayed_from_arrays_and_bytes(operator: Operator) -> None:
    x = images(2, 3, 17, 20)
    theta = operator.sample_theta(x, seeded(3))
    assert equal(operator.theta_from_arrays(theta.shape, theta.arrays()), theta)
    replayed = load_theta(save_theta(Recording(operator, theta, {"seed": 3})))
    assert (replayed.operator, replayed.notes) == (operator, {"seed": 3})
    assert equal(replayed.theta, theta)
    assert torch.equal(replayed.operator.apply(x, replayed.theta), operator.apply(x, theta))


def test_input_is_not_written(operator: Operator) -> None:
    x = images(2, 3, 16, 16)
    kept = x.clone()
    theta = operator.sample_theta(x, seeded(0))
    operator.measure(x, theta, seeded(0))
    if operator.linear:
        operator.adjoint(operator.apply(x, theta), theta)
    assert torch.equal(x, kept)


def test_theta_is_used_not_drawn_again(operator: Operator) -> None:
    x = images(2, 3, 16, 16)
    theta = operator.sample_theta(x, seeded(0))
    assert torch.equal(operator.apply(x, theta), operator.apply(x, theta))


@settings(max_examples=15, deadline=None)
@given(shape=SHAPES)
@pytest.mark.parametrize("spec", [spec for spec in SPECS if parse(spec).linear])
def test_adjoint(spec: str, shape: tuple[int, ...]) -> None:
    """<A x, y> = <x, A^T y>, and A is linear."""
    operator, x, other = parse(spec), images(*shape, dtype=torch.float64), images(*shape, seed=1, dtype=torch.float64)
    theta = operator.sample_theta(x, seeded(1))
    ax = operator.apply(x, theta)
    y = images(*ax.shape, seed=2, dtype=torch.float64)
    back = operator.adjoint(y, theta)
    assert back.shape == x.shape
    torch.testing.assert_close((ax * y).sum(), (x * back).sum(), rtol=1e-10, atol=1e-10)
    both = 2 * ax - 3 * operator.apply(other, theta)
    torch.testing.assert_close(operator.apply(2 * x - 3 * other, theta), both, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if not parse(spec).linear])
def test_what_is_not_linear_has_no_adjoint(spec: str) -> None:
    operator, x = parse(spec), images(1, 3, 8, 8)
    with pytest.raises(NotLinearError, match="not linear"):
        operator.adjoint(x, operator.sample_theta(x, seeded(0)))


@pytest.mark.parametrize("spec", [spec for spec in SPECS if parse(spec).differentiable])
def test_gradient_through_apply(spec: str) -> None:
    operator, x = parse(spec), images(2, 2, 7, 6, dtype=torch.float64).requires_grad_()
    theta = operator.sample_theta(x, seeded(1))
    assert torch.autograd.gradcheck(lambda values: operator.apply(values, theta), (x,))


@pytest.mark.parametrize("spec", [spec for spec in SPECS if parse(spec).differentiable])
def test_gradient_through_measure(spec: str) -> None:
    operator, x = parse(spec), images(2, 3, 16, 16).requires_grad_()
    operator.measure(x, operator.sample_theta(x, seeded(1)), seeded(2)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("spec", [spec for spec in SPECS if not parse(spec).differentiable])
def test_what_is_not_differentiable_says_so(spec: str) -> None:
    operator, x = parse(spec), images(1, 3, 8, 8).requires_grad_()
    theta = operator.sample_theta(x, seeded(0))
    with pytest.raises(NotDifferentiableError, match="detach"):
        operator.apply(x, theta)
    with torch.no_grad():
        operator.apply(x, theta)


def test_half_precision(operator: Operator) -> None:
    x = images(2, 3, 12, 12)
    theta = operator.sample_theta(x, seeded(1))
    rough = operator.apply(x.bfloat16(), theta)
    assert rough.dtype == torch.bfloat16
    if operator.linear:
        torch.testing.assert_close(rough.float(), operator.apply(x, theta), atol=0.03, rtol=0.03)


def test_works_after_inference_mode(operator: Operator) -> None:
    """What an evaluation leaves in a cache must not break the training after it."""
    with torch.inference_mode():
        inside = images(1, 3, 13, 14)
        operator.apply(inside, operator.sample_theta(inside, seeded(0)))
    if operator.differentiable:
        x = images(1, 3, 13, 14).requires_grad_()
        operator.apply(x, operator.sample_theta(x, seeded(0))).sum().backward()


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        (torch.zeros(3, 8, 8), ImageShapeError),
        (torch.zeros(1, 5, 8, 8), ImageShapeError),
        (torch.zeros(0, 3, 8, 8), ImageShapeError),
        (torch.zeros(1, 3, 0, 8), ImageShapeError),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), ImageTypeError),
        (np.zeros((1, 3, 8, 8), np.float32), ImageTypeError),
    ],
)
def test_what_is_no_batch(operator: Operator, batch: Tensor, error: type[Exception]) -> None:
    theta = operator.sample_theta(images(1, 3, 8, 8), seeded(0))
    with pytest.raises(error):
        operator.sample_theta(batch, seeded(0))
    with pytest.raises(error):
        operator.apply(batch, theta)
    with pytest.raises(error):
        operator.measure(batch, theta, seeded(0))


def test_foreign_thetas(operator: Operator) -> None:
    x = images(2, 3, 8, 8)
    theta = operator.sample_theta(x, seeded(0))
    with pytest.raises(ThetaError, match="draw one"):
        operator.apply(x[:1], theta)
    with pytest.raises(ThetaError, match="draw one"):
        operator.apply(x, Theta(theta.shape, {"foreign": torch.zeros(2)}))
    with pytest.raises(ThetaError, match="recorded"):
        operator.theta_from_arrays(theta.shape, {"foreign": np.zeros(2)})


@pytest.mark.parametrize("spec", [spec for spec in SPECS if "+" not in spec and parse(spec).layout((1, 3, 8, 8))])
def test_a_theta_elsewhere(spec: str) -> None:
    operator, x = parse(spec), images(1, 3, 8, 8)
    theta = operator.sample_theta(x, seeded(0)).to("meta")
    with pytest.raises(ThetaError, match=r"theta\.to"):
        operator.apply(x, theta)


def test_flags_tell_the_truth(operator: Operator) -> None:
    x = images(2, 3, 16, 16) * 1.5 - 0.2
    theta = operator.sample_theta(x, seeded(1))
    y = operator.apply(x, theta)
    if not operator.changes:
        assert torch.equal(y, x)
    if not isinstance(operator, Composition):
        assert operator.noisy != torch.equal(operator.noise(y, seeded(2)), y)
    kept = operator.kept(theta)
    if kept is not None:
        assert kept.dtype == torch.bool
        hidden = ~kept.expand_as(x)
        changed = operator.apply(torch.where(hidden, torch.rand_like(x, dtype=x.dtype), x), theta)
        assert torch.equal(changed, y)
