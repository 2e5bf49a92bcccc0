"""Every operator beside NaN, under another default dtype, on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from restore_sdk.degradations import OPERATORS, Operator, Theta, parse, seeded

SPECS = [
    *OPERATORS,
    "gaussian-blur:sigma=0.5..2+downsample:factor=2+gaussian-noise:sigma=0.1..0.2",
    "drop-rows+poisson-noise+jpeg",
]


@pytest.fixture(params=SPECS)
def operator(request: pytest.FixtureRequest) -> Operator:
    return parse(request.param)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=seeded(0), dtype=torch.float32)


def equal(first: Theta, second: Theta) -> bool:
    one, two = first.tensors(), second.tensors()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_nan_does_no_harm_to_the_other_images(operator: Operator) -> None:
    """A diverging network is told by its loss, not by an error from in here."""
    x = images(2, 3, 16, 16)
    theta = operator.sample_theta(x, seeded(1))
    wanted = operator.apply(x, theta)
    x[0, :, 3:9] = torch.nan
    x[0, :, 12] = torch.inf
    torch.testing.assert_close(operator.apply(x, theta)[1:], wanted[1:], atol=1e-6, rtol=0)
    assert operator.measure(x, theta, seeded(2))[1:].isfinite().all()


def test_the_default_dtype_does_not_matter(operator: Operator) -> None:
    x = images(2, 3, 9, 11)
    theta = operator.sample_theta(x, seeded(5))
    torch.set_default_dtype(torch.float64)
    try:
        assert equal(operator.sample_theta(x, seeded(5)), theta)
        assert operator.measure(x, theta, seeded(6)).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.gpu
def test_a_gpu_gives_the_same(operator: Operator) -> None:
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    x = images(2, 3, 17, 20)
    theta = operator.sample_theta(x, seeded(5))
    there = operator.sample_theta(x.cuda(), seeded(5))
    assert all(value.is_cuda for value in there.tensors().values())
    assert equal(there.to("cpu"), theta)
    torch.testing.assert_close(operator.apply(x.cuda(), there).cpu(), operator.apply(x, theta), atol=1e-3, rtol=0)
    if operator.linear:
        back = operator.adjoint(operator.apply(x.cuda(), there), there)
        torch.testing.assert_close(back.cpu(), operator.adjoint(operator.apply(x, theta), theta), atol=1e-3, rtol=0)
    rng = torch.Generator("cuda").manual_seed(0)
    assert operator.measure(x, operator.sample_theta(x, rng), rng).device == x.device
