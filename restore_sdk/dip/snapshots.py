"""Weights and Adam's moments of several images as plain tensors: kept, brought back for one of them, or cut down to some.

The networks of a group of images are one network with one Adam, whose count of steps and learning rate they share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from restore_sdk.dip.network import SkipNetwork

JUMP = 10**0.5  # a loss this many times that of the snapshot is divergence: 5 dB, as in the paper's code
NEGLIGIBLE = 1e-5  # mean square; where nearly all is fitted, losses jump by any factor
INTERVAL = 20  # iterations between snapshots
MOST_IN_A_ROW = 8  # rollbacks to one snapshot, then the fit ends
BEFORE_SLOWING = 2  # rollbacks to one snapshot, then the learning rate is halved
_MOMENTS = ("exp_avg", "exp_avg_sq")


def state(network: SkipNetwork, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Every tensor whose first axis is copies * something: weights first, then both moments of each. Of a single image also the
    counts of steps, which are nobody's own where there are several."""
    values = list(network.parameters())
    moments = [optimizer.state[value][name] for value in values for name in _MOMENTS if optimizer.state[value]]
    steps = [optimizer.state[value]["step"] for value in values if optimizer.state[value] and network.copies == 1]
    return [*(value.detach() for value in values), *moments, *steps]


def share(value: Tensor, image: int, copies: int) -> Tensor:
    """The part of a state tensor that belongs to one image, a view."""
    return value.view(copies, -1, *value.shape[1:])[image]


def cut(values: Sequence[Tensor], images: list[int], copies: int) -> list[Tensor]:
    """State tensors of some of the images only."""
    return [torch.cat([share(value, image, copies) for image in images]) for value in values]


class Guard:
    """Watches the losses of all images; one that jumps or is not finite goes back to its last snapshot, moments included, and the
    count of Adam's steps if it is the only one: those beside it have made their steps."""

    def __init__(self, copies: int) -> None:
        self._kept: list[Tensor] = []
        self._candidate: list[Tensor] = []  # kept once the next loss has shown that it is sound
        self._reference = [math.inf] * copies
        self._sums = [0.0] * copies
        self._since = 0
        self.rollbacks = [0] * copies
        self._in_a_row = [0] * copies

    def check(self, losses: Sequence[float]) -> list[bool]:
        """Whether each image's loss is acceptable."""
        pairs = zip(losses, self._reference, strict=True)
        return [math.isfinite(loss) and loss <= JUMP * max(reference, NEGLIGIBLE) for loss, reference in pairs]

    def note(self, losses: Sequence[float], accepted: Sequence[bool], current: Sequence[Tensor]) -> bool:
        """Bring back what was not accepted, and take a snapshot now and then. Returns whether Adam should slow down, which
        it does for all images: they have one learning rate.

        `losses` are those before the step that led to `current`.
        """
        if self._candidate and all(accepted):
            self._confirm()
        self._candidate = []
        for image in (image for image, good in enumerate(accepted) if not good):
            self._bring_back(image, current)
        if all(accepted):
            self._sums = [total + loss for total, loss in zip(self._sums, losses, strict=True)]
            self._since += 1
            if self._since >= INTERVAL or not self._kept:
                self._candidate = [value.clone() for value in current]
        return any(not good and self._in_a_row[image] == BEFORE_SLOWING for image, good in enumerate(accepted))

    def is_lost(self, image: int) -> bool:
        """Whether bringing the image back has stopped helping."""
        return self._in_a_row[image] >= MOST_IN_A_ROW

    def keep(self, images: list[int], copies: int) -> None:
        """Forget the other images; `copies` is their number before."""
        self._kept, self._candidate = cut(self._kept, images, copies), cut(self._candidate, images, copies)
        for name in ("_reference", "_sums", "rollbacks", "_in_a_row"):
            setattr(self, name, [getattr(self, name)[image] for image in images])

    def _bring_back(self, image: int, current: Sequence[Tensor]) -> None:
        copies = len(self.rollbacks)
        self.rollbacks[image] += 1
        self._in_a_row[image] += 1
        for now, before in zip(current, self._kept, strict=False):  # nothing kept yet, or without steps before others were let go
            share(now, image, copies).copy_(share(before, image, copies))

    def _confirm(self) -> None:
        first, self._kept = not self._kept, self._candidate
        if not first:
            self._reference = [total / self._since for total in self._sums]
        self._sums = [0.0] * len(self._sums)
        self._in_a_row = [0] * len(self._in_a_row)
        self._since = 0
