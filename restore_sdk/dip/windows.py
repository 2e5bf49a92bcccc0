"""How much the iterates move: variance over a window and with exponential weights, each in O(N) for an iteration."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST_VALUES = 1 << 16  # kept of an iterate; of a larger one every k-th pixel


class WindowedVariance:
    """Mean over values of the variance of the last W iterates: (sum ||x||^2 / W - ||sum x / W||^2) / N, by running sums.

    A ring holds the last W iterates as they were counted, so nothing is subtracted that was not added; the sums are float64.
    """

    def __init__(self, window: int) -> None:
        self._window, self._seen = window, 0
        self._ring: Tensor | None = None
        self._sum = self._squares = torch.zeros((), dtype=torch.float64)

    def update(self, iterate: Tensor) -> float | None:
        """Take the next iterate, (C, H, W); the variance once the window is full."""
        values = thinned(iterate).detach().to("cpu", torch.float32).flatten()
        if self._ring is None:
            self._ring = values.new_zeros((self._window, len(values)))
            self._sum = torch.zeros(len(values), dtype=torch.float64)
        place = self._ring[self._seen % self._window]
        fresh = values.double()
        if self._seen >= self._window:
            old = place.double()
            self._sum -= old
            self._squares = self._squares - old.dot(old)
        self._sum += fresh
        self._squares = self._squares + fresh.dot(fresh)
        place.copy_(values)
        self._seen += 1
        return self._variance() if self._seen >= self._window else None

    def _variance(self) -> float:
        mean = self._sum / self._window
        return max(0.0, float(self._squares / self._window - mean.dot(mean)) / len(mean))


class ExponentialVariance:
    """ema <- ema + a d and emv <- (1 - a) (emv + a ||d||^2), d = x - ema; nothing is clipped, so any range of values will do."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.mean: Tensor | None = None
        self.total = 0.0  # summed over the values

    def update(self, iterate: Tensor) -> float:
        """Take the next iterate, (C, H, W); the variance of a value."""
        values = thinned(iterate).detach().float()
        self.mean = torch.zeros_like(values) if self.mean is None else self.mean
        step = values - self.mean
        self.mean = self.mean + self.rate * step
        self.total = (1 - self.rate) * (self.total + self.rate * float(step.double().square().sum()))
        return self.total / values.numel()


def thinned(iterate: Tensor) -> Tensor:
    """Every k-th pixel on both axes, k the least that leaves at most MOST_VALUES values."""
    step = max(1, math.ceil(math.sqrt(iterate.numel() / MOST_VALUES)))
    while (values := iterate[:, ::step, ::step]).numel() > MOST_VALUES:  # long and narrow, or just above
        step += 1
    return values
