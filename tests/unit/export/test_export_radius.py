"""The radius that is promised does not depend on the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.checkpoint import Checkpoint
from export.errors import ExportError
from export.radius import check_measured, positive_copy, structural_field
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.spec import ModelSpec
from restore_sdk.tiling.receptive_field import ReceptiveField, probe_receptive_field
from training.networks.unet import ResidualUNet


def checkpoint(network: nn.Module, channels: int = 3, multiple: int = 1) -> Checkpoint:
    return Checkpoint(network.eval(), {}, channels, 1, multiple)


@pytest.mark.parametrize(("widths", "blocks", "radius"), [((8,), (1,), 13), ((8, 8), (1, 1), 31)])
def test_radius_of_the_residual_unet(widths: tuple[int, ...], blocks: tuple[int, ...], radius: int) -> None:
    """One scale, by hand: head, two blocks of two and tail are 6 convolutions at half resolution, 6 * 2 px, and one more
    pixel because the block of two that a pixel falls in may lie to either side."""
    network = ResidualUNet(widths=widths, blocks=blocks)
    assert structural_field(checkpoint(network, multiple=network.size_multiple)).radius == radius


def test_dead_weights_do_not_shrink_it() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
    for weight in network.parameters():
        nn.init.zeros_(weight)
    loaded = checkpoint(network, channels=1)
    assert probe_receptive_field(loaded.infer, 1, 1).radius == 0
    assert structural_field(loaded).radius == 3


def test_depth_does_not_hide_the_rim() -> None:
    """Forty convolutions: the rim weighs 3^-40 of the middle, far below float32's resolution."""
    layers = [layer for _ in range(40) for layer in (nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.ReLU())]
    torch.manual_seed(0)
    assert structural_field(checkpoint(nn.Sequential(*layers), channels=1)).radius == 40


class Difference(nn.Module):
    """Two branches that cancel when their weights are equal."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Conv2d(1, 1, 5, padding=2, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        difference: Tensor = self.a(x) - self.b(x)
        return difference


def test_branches_do_not_cancel() -> None:
    assert structural_field(checkpoint(Difference(), channels=1)).radius == 2


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x.mean((2, 3), keepdim=True))


def test_a_global_gate_reaches_everything() -> None:
    assert structural_field(checkpoint(Pooled(), channels=1), limit=96).reaches_everything


def test_the_copy_leaves_the_network_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    copied = positive_copy(network)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    state: dict[str, Any] = copied.state_dict()
    assert state["0.weight"].dtype == torch.float64
    assert (state["0.weight"] * 27 >= 0.5).all()
    assert not state["0.bias"].any()
    assert (state["1.running_var"] == 1).all()


def backend(reach: int) -> FunctionBackend:
    def function(image: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        moved = np.zeros_like(image)
        moved[:, :, reach:] = image[:, :, : image.shape[2] - reach]
        return image + moved

    return FunctionBackend(ModelSpec(name="n", method="m", task="denoise", channels=1), function)


def field(radius: int) -> ReceptiveField:
    return ReceptiveField(radius, radius, radius, radius, (1, 1))


def test_a_model_may_reach_less_than_its_structure_but_not_more() -> None:
    assert check_measured(backend(3), field(4)).radius == 3
    with pytest.raises(ExportError, match="reaches 5 px"):
        check_measured(backend(5), field(4))
    assert check_measured(backend(5), ReceptiveField(None, None, None, None, (1, 1))).radius == 5
