"""Which networks a configuration asks for: the generator, which is exported, and the discriminator, which is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from restore_sdk.degradations import Mask
from training.networks.filling_unet import lost_values
from training.networks.table import build_network
from training.networks.unir_resnet import Attention, NormBlock
from training.unir.config import UnirConfig, steps_of

CHANNELS = 3
RESNET_WIDTHS = (1, 2, 4, 8, 16)  # of the reference's discriminator, in multiples of `width`


def describe(config: UnirConfig) -> dict[str, Any]:
    """The generator as it is trained."""
    network = config.network
    if network.kind == "unir_resnet":
        return {"kind": network.kind, "width": network.width, "attention": network.attention}
    described: dict[str, Any] = {
        "kind": network.kind,
        "widths": [*network.widths],
        "blocks": [*network.blocks],
        "unshuffle": network.unshuffle,
    }
    if network.kind == "filling_unet":
        described |= {"fill": config.fill, "keep_measured": network.keep_measured}
    return described


def deployed(config: UnirConfig) -> dict[str, Any]:
    """The generator as a checkpoint has it. While it learns, splitting hides single values from it; what it is used on has lost
    what the corruption loses, and that may be whole pixels."""
    described = describe(config)
    masks = [step for step in steps_of(config.operator) if isinstance(step, Mask)]
    if config.network.kind == "filling_unet":
        described["whole_pixels"] = not any(mask.per_channel for mask in masks)
    return described


def build_generator(config: UnirConfig) -> nn.Module:
    """U-Nets as PyTorch initialises them; the reference's with orthogonal kernels of gain sqrt(2) and spectral normalisation of
    the layers that its authors normalise, which saving folds into the weights."""
    network = build_network(describe(config))
    if config.network.kind == "unir_resnet":
        orthogonal(network)
        for block in network.modules():
            if isinstance(block, NormBlock | Attention):
                normalise(*(layer for name, layer in block.named_children() if name != "beside" and isinstance(layer, nn.Conv2d)))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def build_discriminator(config: UnirConfig) -> nn.Module:
    """Takes (N, 3, H, W), or (N, 6, H, W) with the clean image for "paired"; its scores are not squashed."""
    wanted, channels = config.discriminator, CHANNELS * (2 if config.loss.variant == "paired" else 1)
    network: nn.Module
    if wanted.kind == "patch":
        network = PatchDiscriminator(channels, wanted.width, wanted.layers, config.fill)
    else:
        network = ResNetDiscriminator(channels, wanted.width, wanted.attention)
        orthogonal(network)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def orthogonal(network: nn.Module) -> None:
    """Orthogonal kernels of gain sqrt(2), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(module.weight, 2**0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def normalise(*layers: nn.Module) -> None:
    """Divide the weights of each layer by their largest singular value (Miyato et al., ICLR 2018)."""
    for layer in layers:
        spectral_norm(layer)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """What is computed within the block has no gradient with respect to the network's weights."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    try:
        for weight in weights:
            weight.requires_grad_(False)
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


class PatchDiscriminator(nn.Module):
    """(N, channels, H, W) -> (N, 1, H / 2^layers, W / 2^layers): a score for each place, which sees its surroundings only.

    fill: of lost values. Where they are is given to the first layer beside the image.
    """

    def __init__(self, channels: int, width: int, layers: int, fill: float | None) -> None:
        super().__init__()
        self.fill = fill
        widths = [channels * (1 if fill is None else 2), *(width * 2**layer for layer in range(layers))]
        halving = [nn.Conv2d(*pair, 4, stride=2, padding=1) for pair in pairwise(widths)]
        same = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.layers = nn.ModuleList([*halving, same])
        self.score = nn.Conv2d(widths[-1], 1, 3, padding=1)
        normalise(*self.layers, self.score)

    def forward(self, y: Tensor) -> Tensor:
        if self.fill is not None:
            y = torch.cat([y - self.fill, lost_values(y, self.fill).to(y.dtype)], 1)
        for layer in self.layers:
            y = nn.functional.leaky_relu(layer(y), 0.2)
        score: Tensor = self.score(y)
        return score


class DownBlock(nn.Module):
    """ReLU (not in the first block), convolution, ReLU, convolution; a 1x1 convolution beside them; half the resolution."""

    def __init__(self, channels_in: int, channels_out: int, *, first: bool) -> None:
        super().__init__()
        self.begins = nn.Identity() if first else nn.ReLU()
        self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.beside = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        change = self.second(torch.relu(self.first(self.begins(x))))
        return nn.functional.avg_pool2d(self.beside(x) + change, 2)


class ResNetDiscriminator(nn.Module):
    """The reference's: five blocks, attention after the second, sum over all places; (N, channels, H, W) -> (N, 1)."""

    def __init__(self, channels: int, width: int, attention: bool) -> None:
        super().__init__()
        widths = [channels, *(width * factor for factor in RESNET_WIDTHS)]
        blocks: list[nn.Module] = [DownBlock(*pair, first=number == 0) for number, pair in enumerate(pairwise(widths))]
        if attention:
            blocks.insert(2, Attention(widths[2]))
        self.blocks = nn.Sequential(*blocks)
        self.score = nn.Linear(widths[-1], 1)
        normalise(*(layer for layer in self.modules() if isinstance(layer, nn.Conv2d | nn.Linear)))

    def forward(self, y: Tensor) -> Tensor:
        score: Tensor = self.score(torch.relu(self.blocks(2 * y - 1)).sum((2, 3)))
        return score
