"""What is measured while training: held-out patches, corrupted once like the others, against their clean originals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from restore_sdk.degradations import Operator, seeded
from training.data.corrupted import Observations
from training.engine.metrics_log import Panel
from training.engine.scores import GIVEN, RESTORED

Batch: TypeAlias = Mapping[str, Tensor]
MOST_PATCHES = 200  # spread over all that are held out
AT_ONCE = 20  # patches
PANELS = (
    Panel("terms of the loss", "train/", logarithmic=True),
    Panel("PSNR of held-out patches (dashed: corrupted), dB", RESTORED, baseline=GIVEN),
)
SCORE_NAMES = {"lost": "lost values", "all": "all values"}


class HeldOut(Dataset[dict[str, Tensor]]):
    """Batches {"measured", "clean", "lost"}, each (N, 3, P, P); lost: bool, all True where no mask says what was kept."""

    def __init__(self, observations: Observations, operator: Operator) -> None:
        if observations.clean is None:
            raise ValueError("held-out patches are scored against their originals; observe them with keep_clean=True")
        kept = operator.kept(observations.theta)
        whole = torch.ones_like(observations.measured, dtype=torch.bool)
        lost = whole if kept is None else ~kept.expand_as(whole)
        self._items = {"measured": observations.measured, "clean": observations.clean, "lost": lost}

    def __len__(self) -> int:
        return math.ceil(len(self._items["measured"]) / AT_ONCE)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {name: values[index * AT_ONCE : (index + 1) * AT_ONCE] for name, values in self._items.items()}


def psnr(restored: Tensor, clean: Tensor, where: Tensor) -> Tensor:
    """10 log10(1 / MSE), dB, over the values of each image that `where` (bool, all of one shape) marks; images in [0, 1], clipped
    to that range; (N, C, H, W) to (N,). NaN for an image without such values."""
    squares = torch.where(where, restored.clamp(0, 1) - clean, 0.0) ** 2
    return -10.0 * torch.log10(squares.flatten(1).sum(1) / where.flatten(1).sum(1))


def measure(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """PSNR on what was lost and on everything, given and restored, mean over the batch, by the name under which it is logged."""
    places = {"lost": batch["lost"], "all": torch.ones_like(batch["lost"])}
    images = {GIVEN: batch["measured"], RESTORED: network(batch["measured"])}
    return {
        prefix + name: psnr(image, batch["clean"], where).nanmean()
        for prefix, image in images.items()
        for name, where in places.items()
    }


def panels_of(operator: Operator, seed: int) -> Callable[[lightning.LightningModule, Batch], list[Tensor]]:
    """A row of the sample grid: corrupted | restored | re-measured."""

    def panels(module: lightning.LightningModule, batch: Batch) -> list[Tensor]:
        restored, rng = module(batch["measured"]), seeded(seed, 0)
        return [batch["measured"], restored, operator.measure(restored, operator.sample_theta(restored, rng), rng)]

    return panels
