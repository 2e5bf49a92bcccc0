"""What a fit gives: the image, how sure it is of it, and how it got there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

BUDGETS = ("max_iterations", "max_seconds")  # what ends a fit that its policy did not end
LATE, LATE_ITERATIONS = 0.05, 10  # a best iteration so near the end, share or number, is one that a longer fit may better

Planes: TypeAlias = NDArray[np.float32]  # (C, H, W), black 0, white 1


NOTHING_TO_FILL = "nothing to fill"


@dataclass(frozen=True, slots=True)
class Point:
    """One iteration of one fit. `loss` is a mean square, `score` the stopping policy's (None while it has none), `held_out` the
    mean square on values that never enter the loss (0 where there are none)."""

    iteration: int
    loss: float
    score: float | None
    held_out: float
    seconds: float


@dataclass(frozen=True, slots=True)
class FitProgress:
    """Where a fit stands; of several tiles at once, the worst of them that still runs.

    iteration, budget  of this group of tiles; 0 in the coarse iterations, which the budget does not count
    seconds            since this group was begun
    done, tiles        tiles finished, and in all
    image              makes the present result, (C, H, W) of the first tile of the group, when called
    """

    iteration: int
    budget: int
    loss: float
    score: float | None
    seconds: float
    done: int
    tiles: int
    image: Callable[[], Planes] = field(repr=False, compare=False)


ProgressCallback: TypeAlias = Callable[[FitProgress], None]
Cancelled: TypeAlias = Callable[[], bool]


@dataclass(frozen=True, slots=True, eq=False)
class FitResult:
    """One fit, of a whole image or of a tile.

    image        (C, H, W), the exponential mean of the iterates at the best iteration
    variance     (C, H, W), that of the iterates around it: where it is large, the network is unsure
    stop_reason  "wmv", "emv", "discrepancy", "held-out" (the policy fired), "max_iterations", "max_seconds", "cancelled",
                 "diverged", or "not started" (a tile whose turn came after the time was over, or after the cancellation; its
                 image is what was measured), or "nothing to fill" (a tile without a lost pixel)
    strip        (iteration, uint8 (C, H, W)) of a few means on the way
    weights      of the network at the best iteration, where they were asked for
    """

    image: Planes
    variance: Planes
    iterations: int
    best_iteration: int
    stop_reason: str
    policy: str
    rollbacks: int
    seconds: float
    trajectory: tuple[Point, ...] = ()
    strip: tuple[tuple[int, NDArray[np.uint8]], ...] = ()
    weights: list[Tensor] | None = None

    @property
    def still_improving(self) -> bool:
        """Whether a budget ended it while its stopping score was still falling: a larger one would give a better image."""
        waited = self.iterations - self.best_iteration
        if self.stop_reason not in BUDGETS or self.policy == "none" or waited > max(LATE_ITERATIONS, LATE * self.iterations):
            return False
        scores = [point.score for point in self.trajectory if point.score is not None]
        tenth = max(1, len(scores) // 10)  # single scores jump
        return len(scores) < 2 or float(np.mean(scores[-tenth:])) < float(np.mean(scores[-2 * tenth : -tenth]))

    def report(self) -> dict[str, Any]:
        """The facts as JSON types."""
        last = self.trajectory[-1] if self.trajectory else None
        return {
            "iterations": self.iterations,
            "best_iteration": self.best_iteration,
            "stop_reason": self.stop_reason,
            "policy": self.policy,
            "rollbacks": self.rollbacks,
            "seconds": round(self.seconds, 3),
            "loss": None if last is None else last.loss,
            "score": None if last is None else last.score,
            "still_improving": self.still_improving,
        }


@dataclass(frozen=True, slots=True, eq=False)
class DipOutcome:
    """One image, put together from its fits. `sigma` is the noise that the discrepancy was held against, given or estimated; the
    root mean square of the estimates where there are tiles."""

    image: Planes
    variance: Planes
    fits: tuple[FitResult, ...]
    seconds: float
    device: str
    sigma: float | None = None

    def report(self) -> dict[str, Any]:
        """The facts as JSON types."""
        reasons = sorted({fit.stop_reason for fit in self.fits} - {NOTHING_TO_FILL})
        return {
            "stop_reason": ", ".join(reasons),
            "still_improving": any(fit.still_improving for fit in self.fits),
            "iterations": max(fit.iterations for fit in self.fits),
            "seconds": round(self.seconds, 3),
            "device": self.device,
            "sigma": self.sigma,
            "mean_deviation": float(np.sqrt(self.variance.mean())),
            "fits": [fit.report() for fit in self.fits],
        }


@dataclass(frozen=True, slots=True, eq=False)
class DipImage:
    """A restored image with what is known of it.

    image        like the one that was given, `scale` times as large
    uncertainty  (H, W) float32, standard deviation of the network's answers at each pixel, white = 1
    outcome      iterations, why they ended, trajectory, and the planes themselves
    """

    image: NDArray[Any]
    uncertainty: NDArray[np.float32]
    outcome: DipOutcome


def once(cancelled: Cancelled) -> Cancelled:
    """The same, which goes on saying True when it has said so."""
    said = False

    def ask() -> bool:
        nonlocal said
        said = said or cancelled()
        return said

    return ask
