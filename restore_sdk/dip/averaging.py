"""The exponential mean of the iterates, which is the result, and their variance around it, which says how sure it is."""

from __future__ import annotations

import torch
from torch import Tensor


class IterateMean:
    """Mean and variance of each value with weights that decay by `decay` an iteration. Early on the decay is smaller,
    (1 + t) / (10 + t), so that the first iterates are soon forgotten."""

    def __init__(self, decay: float) -> None:
        self._decay, self._seen = decay, 0
        self.mean = self.variance = torch.zeros(0)

    def update(self, iterates: Tensor, accepted: Tensor) -> None:
        """Take the next iterates (N, C, H, W); those of an image that is not `accepted`, (N,) bool, are left out."""
        self._seen += 1
        if self._seen == 1:
            self.mean, self.variance = iterates.clone(), torch.zeros_like(iterates)
            return
        rate = 1 - min(self._decay, (1 + self._seen) / (10 + self._seen))
        step = torch.where(accepted[:, None, None, None], iterates - self.mean, 0.0)
        increment = rate * step
        self.mean = self.mean + increment
        fresh = (1 - rate) * (self.variance + step * increment)
        self.variance = torch.where(accepted[:, None, None, None], fresh, self.variance)

    def keep(self, images: list[int]) -> None:
        """Forget the other images."""
        self.mean, self.variance = self.mean[images], self.variance[images]
