"""When to stop, without ground truth: small policies that see each iterate and say whether it is the best so far.

A network fits an image before it fits its noise. WMV and EMV (Wang et al., "Early Stopping for Deep Image Prior") take the
moment at which the iterates move least for that point; the discrepancy principle the moment at which the residual has come down
to the noise; held-out values the moment from which the network predicts values that it never saw less well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from restore_sdk.dip.windows import ExponentialVariance, WindowedVariance

STILL_FALLING = 0.8  # of the residual at the best iterate so far: below it that was no end
UNFITTED = 1.25  # of the noise's variance: more residual than that is image that is missing


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One iteration of one fit."""

    iteration: int  # from 1
    iterate: Tensor  # (C, H, W), the network's output
    smoothed: Tensor  # (C, H, W), the exponential mean of the outputs
    loss: float  # mean squared residual of the iterate over the fitted values
    held_out: float  # mean squared residual of the smoothed over the values kept out of the loss; 0 where there are none


class Verdict(NamedTuple):
    """What a policy makes of an iteration. `score`: the lower the better, None while there is none yet."""

    score: float | None
    is_best: bool
    stop: bool


class Policy(Protocol):
    """One per fit: it remembers what it saw."""

    name: str

    def update(self, seen: Observation) -> Verdict:
        """Look at the next iteration."""
        ...


class Patience:
    """Remembers the least score; gives up after `patience` iterations without a smaller one."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self.forget()

    def forget(self) -> None:
        """Begin anew: the next score is the least."""
        self._best, self._waited = float("inf"), 0

    def judge(self, score: float | None) -> Verdict:
        """Verdict on the next score."""
        if score is None:
            return Verdict(None, is_best=True, stop=False)  # until scores come, the latest is the best
        if score < self._best:
            self._best, self._waited = score, 0
            return Verdict(score, is_best=True, stop=False)
        self._waited += 1
        return Verdict(score, is_best=False, stop=self._waited >= self._patience)


class WindowedVariancePolicy:
    """WMV: variance of the last `window` iterates, at its least."""

    name = "wmv"

    def __init__(self, window: int, patience: int) -> None:
        self._variance, self._patience = WindowedVariance(window), Patience(patience)

    def update(self, seen: Observation) -> Verdict:
        """Score: mean variance of a value over the window."""
        return self._patience.judge(self._variance.update(seen.iterate))

    def forget(self) -> None:
        """What moved least so far was not the end."""
        self._patience.forget()


class ExponentialVariancePolicy:
    """EMV: exponentially weighted variance of the iterates, at its least."""

    name = "emv"

    def __init__(self, rate: float, patience: int) -> None:
        self._variance, self._patience = ExponentialVariance(rate), Patience(patience)

    def update(self, seen: Observation) -> Verdict:
        """Score: mean variance of a value. The first 1 / rate iterations only fill the mean."""
        score = self._variance.update(seen.iterate)
        return self._patience.judge(score if seen.iteration > 1 / self._variance.rate else None)


class DiscrepancyPolicy:
    """Stops when the residual has come down to the noise: mean square <= tau * sigma^2 (Morozov). It is averaged over some
    iterations, since single ones jump. An estimate of sigma that is too low is never reached: then the fallback stops, WMV, but
    not as long as the residual still comes down: iterates may hardly move on the way, while fine texture is not fitted yet. Nor
    does it where the image shows less noise than residual: `white`, its sigma, of white noise. What it would have taken is kept
    then until the residual has come down so far, which it may never do where the image shows only part of its noise."""

    score_name = "residual above sigma^2"  # whoever stops

    def __init__(
        self,
        sigma: float,
        tau: float = 1.0,
        rate: float = 0.1,
        fallback: WindowedVariancePolicy | None = None,
        white: float = math.inf,
    ) -> None:
        self.name = "discrepancy"
        self._unfitted, self._waits = UNFITTED * white * white, False
        self._limit, self._rate, self._mean = tau * sigma * sigma, rate, 0.0
        self._fallback, self._at_best = fallback, float("inf")

    def update(self, seen: Observation) -> Verdict:
        """Score: how far the residual is above the limit, mean squares. Where the fallback stops, `name` becomes its name; the
        score stays what it was."""
        rate = max(self._rate, 1 / seen.iteration)
        self._mean += rate * (seen.loss - self._mean)
        excess = self._mean - self._limit
        trained = seen.iteration >= 1 / self._rate  # or a sigma that is too large would stop at an untrained network
        if excess <= 0 and trained:
            return Verdict(excess, is_best=True, stop=True)
        if self._fallback is None:
            return Verdict(excess, is_best=True, stop=False)
        other = self._fallback.update(seen)
        begins = self._waits and self._mean <= self._unfitted
        improves = not self._waits and (other.is_best or self._mean < STILL_FALLING * self._at_best)
        if begins or improves:
            if begins or not other.is_best:
                self._fallback.forget()
            self._waits, self._at_best = False, self._mean
            return Verdict(excess, is_best=True, stop=False)
        self._waits = self._waits or (other.stop and self._mean > self._unfitted)
        if other.stop and not self._waits:
            self.name = self._fallback.name
        return Verdict(excess, is_best=False, stop=other.stop and not self._waits)


class HeldOutPolicy:
    """Stops when the error on values that never entered the loss has not gone down for a while."""

    name = "held-out"

    def __init__(self, patience: int) -> None:
        self._patience = Patience(patience)

    def update(self, seen: Observation) -> Verdict:
        """Score: the mean squared error on those values."""
        return self._patience.judge(seen.held_out)


class NoPolicy:
    """All iterations; the last is the best."""

    name = "none"

    def update(self, seen: Observation) -> Verdict:
        """Score: the loss."""
        return Verdict(seen.loss, is_best=True, stop=False)
