"""The terms of UNIR (Pajot, de Bezenac, Gallinari, "Unsupervised adversarial image reconstruction", ICLR 2019), and splitting.

Images are (N, C, H, W) float tensors, `scores` what a discriminator gives, of any shape. All return one number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from restore_sdk.degradations import Operator, Theta

Network: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Game:
    """What generator(fake scores) and discriminator(real scores, fake scores) minimise."""

    generator: Callable[[Tensor], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]


GAMES: Mapping[str, Game] = {
    # Mao et al. 2017, labels 1 and 0
    "lsgan": Game(
        lambda fake: ((fake - 1) ** 2).mean(),
        lambda real, fake: (((real - 1) ** 2).mean() + (fake**2).mean()) / 2,
    ),
    # Lim and Ye 2017
    "hinge": Game(
        lambda fake: -fake.mean(),
        lambda real, fake: torch.relu(1 - real).mean() + torch.relu(1 + fake).mean(),
    ),
    # Goodfellow et al. 2014, section 3
    "nonsaturating": Game(
        lambda fake: functional.softplus(-fake).mean(),
        lambda real, fake: functional.softplus(-real).mean() + functional.softplus(fake).mean(),
    ),
}


def on_probabilities(game: Game) -> Game:
    """The same game on sigmoid(scores)."""
    return Game(
        lambda fake: game.generator(fake.sigmoid()), lambda real, fake: game.discriminator(real.sigmoid(), fake.sigmoid())
    )


def remeasured_error(network: Network, operator: Operator, measured: Tensor, theta: Theta) -> Tensor:
    """mean (F(G(y^); theta) - y^)^2 for y^ = `measured`, itself measured with `theta` from a restored image.

    Gradient flows through both passes of the network by the prediction; the target is held fixed (equations 4 to 6).
    """
    return ((operator.apply(network(measured), theta) - measured.detach()) ** 2).mean()


def gradient_penalty(discriminator: Network, real: Tensor) -> Tensor:
    """mean over images of |d D / d y|^2 at y = `real` (R1: Mescheder et al., ICML 2018)."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return (slope**2).flatten(1).sum(1).mean()


def split_error(predicted: Tensor, measured: Tensor, asked: Tensor, hidden: Tensor) -> Tensor:
    """sum (F(G(split y); theta) - y)^2 over the values that are `asked`, per `hidden` value; both bool, the shape of `measured`.

    Noise2Self, SSDU: the network cannot copy what it did not see, so the expectation is the error of filling it in plus what no
    network can know. Where there is no noise, asking for all measured values instead of the hidden ones costs nothing.
    """
    errors = torch.where(asked, predicted - measured, 0.0) ** 2
    return errors.sum() / hidden.sum().clamp_min(1)


def roughness(restored: Tensor) -> Tensor:
    """mean over values of the squared differences to the value on the right and the one below (Tikhonov).

    What F loses for good, such as frequencies that a blur takes away, costs nothing in any term that measures again: there this
    chooses the smoothest of the images that measure alike.
    """
    right, below = restored.diff(dim=3), restored.diff(dim=2)
    return ((right**2).sum() + (below**2).sum()) / restored.numel()


def neighbour_values(y: Tensor, offset: Tensor) -> Tensor:
    """At each pixel the value of the pixel `offset` away, or as far on the other side where that is outside.

    offset: (N, 2, H, W) integers, rows and columns, smaller than half of the sides.
    """
    count, channels, height, width = y.shape
    row, column = torch.meshgrid(*(torch.arange(side, device=y.device) for side in (height, width)), indexing="ij")
    rows, columns = _inside(row, offset[:, 0], height), _inside(column, offset[:, 1], width)
    flat = (rows * width + columns).view(count, 1, -1).expand(-1, channels, -1)
    return y.flatten(2).gather(2, flat).view_as(y)


def _inside(place: Tensor, offset: Tensor, side: int) -> Tensor:
    moved = place + offset
    return torch.where((moved < 0) | (moved >= side), place - offset, moved)
