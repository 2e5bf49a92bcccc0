"""An endless, seeded stream of crops for training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, distributed
from torch.utils.data import IterableDataset

from training.data.noise import Planes


def process_rank() -> int:
    """This process's number among those that train together, 0 for one alone."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


@dataclass(frozen=True, slots=True)
class Observation:
    """One image as it was measured: (3, H, W) float32 and its noise level in units of [0, 1]; `clean` only for comparisons."""

    noisy: Planes
    sigma: float
    clean: Planes | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CropOptions:
    """patch: side in pixels; batch: crops in a batch; gray_share: share of crops turned gray (the mean of the three planes, whose
    noise is sigma / sqrt(3)), so that one network serves gray images; redraw: noise anew at each crop (needs `clean`)."""

    patch: int
    batch: int
    gray_share: float = 0.0
    redraw: bool = False
    seed: int = 0


class BatchStream(IterableDataset[dict[str, Tensor]]):
    """An endless stream of batches that begins with batch `start`: set it to go on where an interrupted training stopped."""

    start: int = 0


class CropStream(BatchStream):
    """Batches {"noisy": (N, 3, P, P), "sigma" and "gray": (N, 1, 1, 1), "clean" like "noisy" if known}; random place and dihedral
    turn. Batch k depends on the seed, k and, where several processes train together, on the process alone.
    """

    def __init__(self, observations: list[Observation], options: CropOptions) -> None:
        self._observations, self._options = observations, options

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step in itertools.count(self.start):
            yield self._batch(np.random.default_rng([self._options.seed, step, 1 + process_rank()]))

    def _batch(self, generator: np.random.Generator) -> dict[str, Tensor]:
        count, patch = self._options.batch, self._options.patch
        noisy = np.empty((count, 3, patch, patch), np.float32)  # a batch beyond memory fails here, before its crops are gathered
        crops = [self._crop(generator) for _ in range(count)]
        names = [name for name in crops[0] if all(name in crop for crop in crops)]
        rooms = {"noisy": noisy}
        return {name: torch.from_numpy(np.stack([crop[name] for crop in crops], out=rooms.get(name))) for name in names}

    def _crop(self, generator: np.random.Generator) -> dict[str, Planes]:
        observation = self._observations[int(generator.integers(len(self._observations)))]
        patch = self._options.patch
        top, left = (int(generator.integers(side - patch + 1)) for side in observation.noisy.shape[1:])
        turns, mirrored = int(generator.integers(4)), bool(generator.integers(2))

        def cut(planes: Planes) -> Planes:
            turned = np.rot90(planes[:, top : top + patch, left : left + patch], turns, (1, 2))
            return turned[:, :, ::-1] if mirrored else turned

        crop = {"noisy": cut(observation.noisy), "sigma": np.full((1, 1, 1), observation.sigma, np.float32)}
        if observation.clean is not None:
            crop["clean"] = cut(observation.clean)
        return self._grayed(self._redrawn(crop, generator), generator)

    def _redrawn(self, crop: dict[str, Planes], generator: np.random.Generator) -> dict[str, Planes]:
        if not self._options.redraw:
            return crop
        noise = crop["sigma"] * generator.standard_normal(crop["clean"].shape, dtype=np.float32)
        return {**crop, "noisy": crop["clean"] + noise}

    def _grayed(self, crop: dict[str, Planes], generator: np.random.Generator) -> dict[str, Planes]:
        if generator.random() >= self._options.gray_share:
            return {**crop, "gray": np.zeros((1, 1, 1), np.float32)}
        gray: dict[str, Planes] = {"sigma": crop["sigma"] / np.float32(np.sqrt(3.0)), "gray": np.ones((1, 1, 1), np.float32)}
        for name in crop.keys() & {"noisy", "clean"}:
            gray[name] = np.repeat(crop[name].mean(0, keepdims=True), 3, 0)
        return gray
