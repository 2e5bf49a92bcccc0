"""The network: what makes it exact to tile and blind to exposure."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.networks.table import build_network
from training.networks.unet import ResidualUNet


def small() -> ResidualUNet:
    torch.manual_seed(0)
    return ResidualUNet(widths=(8, 16), blocks=(1, 1)).double()


@pytest.mark.parametrize(
    ("widths", "blocks", "parameters"), [((64, 128), (1, 1), 816_640), ((48, 96, 192), (1, 1, 1), 1_936_512)]
)
def test_parameter_count(widths: tuple[int, ...], blocks: tuple[int, ...], parameters: int) -> None:
    # (64, 128): head and tail 2 * 12*64*9, four convolutions of 64*64*9, down 64*128*4, four of 128*128*9, up 128*256
    network = ResidualUNet(widths=widths, blocks=blocks)
    assert sum(weights.numel() for weights in network.parameters()) == parameters


def test_there_is_no_bias_and_nothing_that_reads_the_whole_image() -> None:
    network = ResidualUNet(widths=(8, 16, 32), blocks=(1, 2, 1))
    assert [name for name, _ in network.named_parameters() if not name.endswith("weight")] == []
    assert {type(module) for module in network.modules() if not list(module.children())} == {nn.Conv2d}


@pytest.mark.parametrize("factor", [1 / 256, 3.0])
def test_scale_equivariance(factor: float) -> None:
    network = small()
    noisy = torch.rand(1, 3, 24, 32, dtype=torch.double)
    with torch.no_grad():
        torch.testing.assert_close(network(factor * noisy), factor * network(noisy))
        assert not torch.allclose(network(noisy + 1), network(noisy) + 1)  # but not to a shift: it is no trivial map


def test_shift_by_the_multiple_shifts_the_result() -> None:
    network, shift = small(), 4
    assert network.size_multiple == shift
    noisy = torch.rand(1, 3, 96, 96, dtype=torch.double)
    with torch.no_grad():
        whole, moved = network(noisy), network(noisy[:, :, shift:, shift:])
        torch.testing.assert_close(moved[:, :, 40:-40, 40:-40], whole[:, :, 44:-40, 44:-40])
        off = network(noisy[:, :, 2:-2, :])
    assert not torch.allclose(off[:, :, 40:-40, 40:-40], whole[:, :, 42:-42, 40:-40])


@pytest.mark.parametrize(("arguments", "multiple"), [({}, 4), ({"widths": (8,), "blocks": (2,), "unshuffle": 4}, 4)])
def test_sizes(arguments: dict[str, object], multiple: int) -> None:
    network = build_network({"kind": "residual_unet", **arguments})
    assert network.size_multiple == multiple
    with torch.no_grad():
        assert network(torch.zeros(2, 3, multiple, 3 * multiple)).shape == (2, 3, multiple, 3 * multiple)
        with pytest.raises(RuntimeError):
            network(torch.zeros(1, 3, multiple + 1, multiple))


def test_a_number_of_blocks_is_needed_for_each_scale() -> None:
    with pytest.raises(ValueError, match=r"widths=\(8, 16\) and blocks=\(1,\) differ in length"):
        ResidualUNet(widths=(8, 16), blocks=(1,))


@pytest.mark.parametrize(
    ("description", "message"),
    [({"kind": "other"}, "'other' is unknown; use one of residual_unet"), ({}, "None is unknown"), ({"depth": 3}, "depth")],
)
def test_unknown_descriptions(description: dict[str, object], message: str) -> None:
    asked = description if not description or "kind" in description else {"kind": "residual_unet", **description}
    with pytest.raises(ValueError, match=message):
        build_network(asked)
