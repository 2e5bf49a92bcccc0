"""The table of limits and what it does to the exit code."""

from __future__ import annotations

import pytest

from benchmarks.arguments import exit_code
from benchmarks.gates import GATES, Gate, apply_gates, failures
from benchmarks.schema import Figure

TABLE = (
    Gate("speed", "ratio", "at least", 6.0, "x", "must"),
    Gate("speed", "ratio", "at least", 9.0, "x", "aim"),
    Gate("speed", "added", "at most", 100.0, "us", "must"),
    Gate("other", "ratio", "at least", 99.0, "x", "must"),
)


def verdicts(**values: float) -> list[str]:
    figures = [Figure(name=name, value=value, unit="") for name, value in values.items()]
    return [outcome.verdict for outcome in apply_gates("speed", figures, TABLE)]


def test_limits_are_inclusive_and_other_benchmarks_do_not_count() -> None:
    assert verdicts(ratio=6.0, added=100.0) == ["pass", "fail", "pass"]


def test_either_side_fails() -> None:
    assert verdicts(ratio=5.99, added=100.1) == ["fail", "fail", "fail"]


def test_an_unmeasured_figure_neither_passes_nor_fails() -> None:
    assert verdicts(ratio=9.0) == ["pass", "pass", "not measured"]


def test_only_a_missed_must_fails_the_run() -> None:
    outcomes = apply_gates("speed", [Figure(name="ratio", value=7, unit="x")], TABLE)
    assert failures(outcomes) == []
    assert exit_code(outcomes, enforced=True) == 0


def test_a_missed_must_is_listed_and_sets_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = apply_gates("speed", [Figure(name="added", value=250, unit="us")], TABLE)
    assert exit_code(outcomes, enforced=True) == 1
    assert "added = 250, wanted at most 100 us" in capsys.readouterr().out
    assert exit_code(outcomes, enforced=False) == 0


@pytest.mark.parametrize(
    ("figure", "limit"),
    [
        ("cbsd68_sigma25_psnr", 30.3),
        ("restore_over_bare_1mp", 1.03),
        ("restore_added_64", 100),
        ("dncnn_over_model_1mp", 6),
        ("fma_share_512", 65),
        ("tile_loop_over_restore", 1.3),
        ("tile_loop_channels_last_over_restore", 1),
        ("tiles_auto_over_formula", 1.05),
        ("peak_over_bound_48mp", 1),
    ],
)
def test_the_promised_limits_are_enforced(figure: str, limit: float) -> None:
    assert limit in [gate.limit for gate in GATES if gate.figure == figure and gate.kind == "must"]
