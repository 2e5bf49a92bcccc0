"""How much of a training is done, by steps or by seconds, and the learning rate that follows from it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


def wall_clock() -> float:
    """Seconds since some moment in the past."""
    return time.monotonic()


@dataclass(slots=True)
class Budget:
    """Counts steps and the seconds spent training (kept over interruptions); one of the two ends the training.

    clock: of the seconds; time.process_time, for one, leaves out what other programs take.
    learning_rates: those of each stretch of the training, {"from_step": k, name: rate}; a new stretch where they were changed.
    """

    max_steps: int
    max_seconds: float | None = None
    steps: int = 0
    seconds: float = 0.0
    clock: Callable[[], float] = field(default=wall_clock, repr=False)
    learning_rates: list[dict[str, float]] = field(default_factory=list)
    _since: float | None = field(default=None, repr=False)

    def start(self) -> None:
        """The clock runs from here."""
        self._since = self.clock()

    def stop(self) -> None:
        """The clock stands still, for example while validating."""
        self.seconds, self._since = self.elapsed, None

    def take_step(self) -> None:
        """One more optimiser step."""
        self.steps += 1

    def use_rates(self, rates: Mapping[str, float]) -> bool:
        """Train at these learning rates, by name, from here on; whether they are others than before."""
        before = self.learning_rates[-1] if self.learning_rates else {}
        now = {"from_step": self.steps, **rates}
        if {**before, "from_step": self.steps} == now:
            return False
        self.learning_rates = [each for each in self.learning_rates if each["from_step"] < self.steps] + [now]
        return bool(before)

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, all sessions together."""
        return self.seconds + (0.0 if self._since is None else self.clock() - self._since)

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        by_time = 0.0 if self.max_seconds is None else self.elapsed / self.max_seconds
        return min(1.0, max(self.steps / self.max_steps, by_time))

    @property
    def spent(self) -> bool:
        """Whether training should end."""
        return self.progress >= 1.0

    def learning_rate_factor(self, warmup_steps: int) -> float:
        """Linear warm-up, then half a cosine down to 0 at the end of the budget."""
        warm = min(1.0, (self.steps + 1) / (warmup_steps + 1))
        return warm * 0.5 * (1.0 + math.cos(math.pi * self.progress))
