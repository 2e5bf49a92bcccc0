"""Interleaving and ratios, without a clock."""

from __future__ import annotations

import pytest

from benchmarks.rounds import Timing, best_ratio, cpu_ratio, interleave, paired_difference, paired_ratio


def test_every_round_runs_every_variant_and_reverses_in_turn() -> None:
    calls: list[str] = []
    timings = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, between=lambda: calls.append("-"))
    assert "".join(calls) == "-ba" + "-ab" + "-ba"  # one warm-up round, then two timed ones
    assert [len(timing.wall) for timing in timings.values()] == [2, 2]


def test_no_rounds_is_an_error() -> None:
    with pytest.raises(ValueError, match="rounds=0"):
        interleave({"a": lambda: None}, 0)


def test_ratios_and_differences() -> None:
    slow, fast = Timing([3.0, 8.0, 5.0], [6.0, 6.0, 6.0]), Timing([1.0, 2.0, 2.0], [2.0, 4.0, 3.0])
    assert paired_ratio(slow, fast) == 3.0  # of 3, 4 and 2.5
    assert best_ratio(slow, fast) == 3.0
    assert paired_difference(slow, fast) == 3.0  # of 2, 6 and 3
    assert cpu_ratio(slow, fast) == 2.0


def test_row_holds_median_best_and_cpu() -> None:
    row = Timing([3.0, 1.0, 2.0], [5.0, 6.0, 7.0]).row("case", "variant")
    assert (row.median_s, row.best_s, row.cpu_s, row.rounds) == (2.0, 1.0, 6.0, 3)
