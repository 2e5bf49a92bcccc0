"""Interleaved timing: every variant runs once in every round, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.schema import TimingRow

Work = Callable[[], object]


@dataclass(slots=True)
class Timing:
    """Seconds of each round: wall, and CPU time of all threads of this process."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    @property
    def best(self) -> float:
        return min(self.wall)

    def row(self, case: str, variant: str) -> TimingRow:
        cpu = statistics.median(self.cpu)
        return TimingRow(case=case, variant=variant, rounds=len(self.wall), median_s=self.median, best_s=self.best, cpu_s=cpu)


def interleave(
    variants: Mapping[str, Work], rounds: int, *, warm_up: int = 1, between: Callable[[], object] | None = None
) -> dict[str, Timing]:
    """Time `rounds` rounds of all `variants` after `warm_up` untimed ones. Every other round runs in reverse order;
    `between` is called before each round and not timed."""
    if rounds < 1:
        raise ValueError(f"rounds={rounds}, expected at least 1")
    timings = {name: Timing() for name in variants}
    for number in range(-warm_up, rounds):
        if between is not None:
            between()
        for name in list(variants) if number % 2 == 0 else reversed(list(variants)):
            wall, cpu = _seconds(variants[name])
            if number >= 0:
                timings[name].wall.append(wall)
                timings[name].cpu.append(cpu)
    return timings


def paired_ratio(numerator: Timing, denominator: Timing) -> float:
    """Median over rounds of numerator / denominator in the same round."""
    return statistics.median(a / b for a, b in zip(numerator.wall, denominator.wall, strict=True))


def best_ratio(numerator: Timing, denominator: Timing) -> float:
    """Best round of the one over the best round of the other."""
    return numerator.best / denominator.best


def cpu_ratio(numerator: Timing, denominator: Timing) -> float:
    """Median CPU time of the one over that of the other: what to look at when other programs keep the machine busy."""
    return statistics.median(numerator.cpu) / statistics.median(denominator.cpu)


def paired_difference(longer: Timing, shorter: Timing) -> float:
    """Median over rounds of longer - shorter in the same round, seconds."""
    return statistics.median(a - b for a, b in zip(longer.wall, shorter.wall, strict=True))


def _seconds(work: Work) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu
