"""Whoever waits for an export sees how far it is; and the help pages are whole in a narrow terminal."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import rich.console
from tiny_checkpoint import QUICK
from typer.testing import CliRunner

from export.console import steps_shown
from export.produce import export_onnx
from export.program import app
from export.run_count import counting, numbered
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.spec import ModelSpec


def test_runs_are_numbered_from_one() -> None:
    told: list[int] = []
    backend = FunctionBackend(ModelSpec(name="n", method="m", task="denoise", channels=1), lambda batch: batch + np.float32(1))
    counted = counting(backend, told.append)
    assert counted.infer(np.zeros((1, 1, 2, 2), np.float32)).sum() == 4
    counted.infer(np.zeros((1, 1, 2, 2), np.float32))
    assert counted.spec == backend.spec
    ran = numbered(told.append)
    ran()
    assert told == [1, 2, 1]


def test_the_long_steps_of_an_export_tell_of_each_run(tiny_run: Path, tmp_path: Path) -> None:
    told: dict[str, list[int]] = {"": []}

    def announce(step: str) -> None:
        told[step] = []

    def on_run(runs: int) -> None:
        told[list(told)[-1]].append(runs)

    options = dataclasses.replace(QUICK, on_run=on_run)
    export_onnx(tiny_run, tmp_path / "a.onnx", options, announce)
    assert {step for step, runs in told.items() if runs} == {"receptive field", "tiles", "memory"}
    assert told["memory"] == [1, 2, 3]  # one pixel block, and two sizes
    assert told["tiles"] == list(range(1, len(told["tiles"]) + 1))
    assert len(told["receptive field"]) > 100


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_count_beside_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", _Screen())
    monkeypatch.setattr(rich.console.Console, "is_terminal", True)
    with steps_shown(("load", "tiles")) as shown:
        shown.announce("tiles")
        shown.count(41)
        shown.count(42)
    assert isinstance(sys.stderr, _Screen)
    assert "tiles: 42 runs" in sys.stderr.getvalue()


def test_elsewhere_a_step_is_a_line_and_runs_are_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with steps_shown(("load", "tiles")) as shown:
        shown.announce("tiles")
        shown.count(42)
    assert capsys.readouterr().err == "tiles ...\n"


@pytest.mark.parametrize("command", ["onnx", "torch", "tensorrt", "verify", "card"])
def test_help_is_whole_in_a_narrow_terminal(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80"}).output
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
