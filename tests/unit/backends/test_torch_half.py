"""Half contractions that sum in float32: the same numbers as exact sums rounded once, and everything else left alone."""

import pytest
import torch
from torch import Tensor, nn

from export.precision import half_wrapped
from export.to_torch import trace_program
from restore_sdk.backends.torch_half import widen_contractions


class Mixed(nn.Module):
    """Two convolutions that a skip joins, and a scale that is no contraction."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = torch.relu(self.first(image))
        return image - self.last(features + self.second(features) * 0.5)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return Mixed().eval().requires_grad_(False)


def rounded_once(network: Mixed, image: Tensor) -> Tensor:
    """By hand: each convolution of half operands in float64, which is exact here, rounded to half; the rest in half."""

    def convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
        wide = [None if value is None else value.half().double() for value in (layer.weight, layer.bias)]
        return torch.nn.functional.conv2d(x.double(), wide[0], wide[1], padding=layer.padding).half()

    half = image.half()
    features = torch.relu(convolved(network.first, half))
    return (half - convolved(network.last, features + convolved(network.second, features) * 0.5)).float()


def test_sums_are_rounded_once(network: nn.Module) -> None:
    module = trace_program(half_wrapped(network), 3, 1).module()
    assert widen_contractions(torch, module) == 3
    image = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        got, want = module(image), rounded_once(network, image)
    assert got.dtype == torch.float32
    assert (got - want).abs().max() <= 2**-10  # a sum on the edge between two half numbers may fall to either side
    assert (got == want).float().mean() > 0.95
    assert not torch.equal(got, network(image))


def test_other_layers_and_float32_are_left_alone(network: nn.Module) -> None:
    kept = trace_program(half_wrapped(network, ["first", "last"]), 3, 1).module()
    assert widen_contractions(torch, kept) == 1
    whole = trace_program(network, 3, 1).module()
    image = torch.rand(1, 3, 8, 8)
    before = whole(image)
    assert widen_contractions(torch, whole) == 0
    assert torch.equal(whole(image), before)
