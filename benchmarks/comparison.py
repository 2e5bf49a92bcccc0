"""What one timing benchmark carries along: its network, its settings, the probe of the machine, and its findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arguments import Findings, timing_table, wide_console
from benchmarks.machine import PeakProbe
from benchmarks.rounds import Timing, Work, best_ratio, cpu_ratio, interleave, paired_ratio


@dataclass(slots=True)
class Bench:
    """path: the ONNX file of `model`, which is the name or path that was asked for; rounds: of each long comparison."""

    model: str
    path: Path
    threads: int
    rounds: int
    probe: PeakProbe
    findings: Findings

    def compare(self, case: str, variants: Mapping[str, Work], rounds: int | None = None, warm_up: int = 1) -> dict[str, Timing]:
        """Time the variants interleaved, print their table, keep their rows.

        The probe runs before each round, except in comparisons of very short calls, which state their own `rounds`.
        """
        between = self.probe.measure if rounds is None else None
        timings = interleave(variants, rounds or self.rounds, warm_up=warm_up, between=between)
        rows = [timing.row(case, name) for name, timing in timings.items()]
        wide_console().print(timing_table(case, rows))
        self.findings.rows += rows
        return timings

    def add_ratio(self, name: str, numerator: Timing, denominator: Timing) -> float:
        """Record the ratio three ways and return the first: median over rounds, best over best, CPU time (for busy machines)."""
        ratio = paired_ratio(numerator, denominator)
        self.findings.add(name, ratio, "x")
        self.findings.add(f"{name}_best", best_ratio(numerator, denominator), "x")
        self.findings.add(f"{name}_cpu", cpu_ratio(numerator, denominator), "x")
        return ratio
