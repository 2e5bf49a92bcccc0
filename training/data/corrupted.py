"""Frozen corruption: every patch is corrupted once, by the parameters and the noise that its index decides.

A network that only ever sees these observations has seen no clean image.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_sdk.degradations import Operator, Theta, seeded, stack_thetas
from training.data.crops import BatchStream, process_rank
from training.data.noise import as_planes

Pixels = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True, slots=True)
class Observations:
    """M corrupted patches: `measured` and `clean`, (M, 3, P, P) float32, and the theta of all; `clean` only for comparisons."""

    measured: Tensor
    theta: Theta
    clean: Tensor | None = None

    def __len__(self) -> int:
        return len(self.measured)


def cut(image: Pixels, patch: int) -> list[Pixels]:
    """All patch x patch pieces of an image (H, W, 3) that lie side by side around its centre."""
    tops, lefts = (range(side % patch // 2, side - patch + 1, patch) for side in image.shape[:2])
    return [image[top : top + patch, left : left + patch] for top in tops for left in lefts]


def observe_once(patches: Sequence[Pixels], operator: Operator, seed: int, *, keep_clean: bool) -> Observations:
    """Corrupt patch k with the randomness of seeded(seed, k). Same seed and index, same bits."""
    shape = (len(patches), 3, *patches[0].shape[:2])
    measured, thetas = torch.empty(shape), []
    clean = torch.empty(shape) if keep_clean else None
    for index, patch in enumerate(patches):
        planes, rng = torch.from_numpy(as_planes(patch))[None], seeded(seed, index)
        thetas.append(operator.sample_theta(planes, rng))
        measured[index] = operator.measure(planes, thetas[-1], rng)[0]
        if clean is not None:
            clean[index] = planes[0]
    return Observations(measured, stack_thetas(thetas), clean)


def thetas_at(theta: Theta, indices: Tensor) -> Theta:
    """Theta of the images `indices`, (N,) integers."""
    values = {name: value[indices] for name, value in theta.values.items()}
    return Theta((len(indices), *theta.shape[1:]), values, tuple(thetas_at(part, indices) for part in theta.parts))


class ObservationStream(BatchStream):
    """Batches {"measured": (N, 3, P, P), "index": (N,)} and, where clean patches were kept, "clean" of the same images and
    "other_clean" of others. Batch k depends on the seed, k and, where several processes train together, on the process alone.
    """

    def __init__(self, observations: Observations, batch: int, seed: int) -> None:
        self._observations, self._batch, self._seed = observations, batch, seed

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step in itertools.count(self.start):
            rng = seeded(self._seed, step, 1 + process_rank())
            yield self._taken(*torch.randint(len(self._observations), (2, self._batch), generator=rng))

    def _taken(self, indices: Tensor, others: Tensor) -> dict[str, Tensor]:
        measured, clean = self._observations.measured, self._observations.clean
        batch = {"measured": measured[indices], "index": indices}
        return batch if clean is None else {**batch, "clean": clean[indices], "other_clean": clean[others]}
