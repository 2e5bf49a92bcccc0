"""restore doctor --measure, and what --backend auto makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restore_sdk.backends import choice
from restore_sdk.cli import doctor as doctor_command
from restore_sdk.cli import speed

Restore = Callable[..., Any]
Parse = Callable[[Any], dict[str, Any]]
TIMES = {"onnxruntime": 2.0, "openvino": 1.0}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(choice, "user_folder", lambda: tmp_path / "cache" / "engines")
    monkeypatch.setattr(doctor_command, "clashes", tuple)
    monkeypatch.setattr(doctor_command, "_self_test", lambda _model: {"ok": True, "seconds": 0.0, "error": None})
    return tmp_path / "cache"


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked of a measurement that takes no time."""
    asked: list[dict[str, Any]] = []

    def measured(path: Path, **options: Any) -> dict[str, float]:
        asked.append(options)
        return TIMES

    monkeypatch.setattr(speed, "measured", measured)
    return asked


def auto_line(result: Any) -> str:
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("auto"))
    return str(line)


def test_nothing_is_measured_unasked(restore: Restore, sound_zoo: Path, timed: list[dict[str, Any]], cache: Path) -> None:
    assert "onnxruntime: speed not measured here; `restore doctor --measure` does" in auto_line(restore("doctor"))
    assert timed == []
    assert not cache.exists()


def test_measured_once_and_used_from_then_on(
    restore: Restore, sound_zoo: Path, timed: list[dict[str, Any]], picture: Callable[..., Path], as_json: Parse
) -> None:
    measured = as_json(restore("doctor", "--measure", "--threads", "1", "--json"))["speed"]
    assert measured["backend"] == "openvino"
    assert measured["seconds_per_megapixel"] == TIMES
    assert measured["not_kept"] is None
    assert [asked["threads"] for asked in timed] == [1]
    assert auto_line(restore("doctor", "--threads", "1")).startswith("auto         openvino: measured here")
    assert "not measured" in auto_line(restore("doctor", "--threads", "2"))
    runtime = as_json(restore("image", picture(), "-o", "b.png", "--json"))["runtime"]
    assert runtime["backend"] == "openvino"
    assert "measured here" in runtime["chosen"]


def test_backend_by_name(restore: Restore, picture: Callable[..., Path], as_json: Parse) -> None:
    runtime = as_json(restore("image", picture(), "-o", "b.png", "--backend", "openvino", "--json"))["runtime"]
    assert runtime["backend"] == "openvino"
    assert "chosen" not in runtime
    refused = restore("image", picture("c.png"), "-o", "d.png", "--backend", "torch")
    assert refused.exit_code == 2
    assert "for a .onnx file" in refused.stderr


def test_program_by_suffix(restore: Restore, picture: Callable[..., Path], small_program: Path, as_json: Parse) -> None:
    arguments = ("image", picture(), "-o", "b.png", "-m", small_program, "--device", "cpu", "--threads", "1", "--json")
    runtime = as_json(restore(*arguments, model=None))["runtime"]
    assert (runtime["backend"], runtime["device"]) == ("torch", "cpu")


def test_a_measurement_that_cannot_be_kept_is_advice(
    restore: Restore, sound_zoo: Path, timed: list[dict[str, Any]], cache: Path
) -> None:
    cache.write_text("a file in the folder's place")
    result = restore("doctor", "--measure")
    assert result.exit_code == 0
    assert auto_line(result).startswith("auto         openvino")
    assert any(line.startswith("advice       the measurement was not kept: ") for line in result.stdout.splitlines())


def test_a_model_that_cannot_be_measured_is_a_problem(restore: Restore, sound_zoo: Path, small_program: Path) -> None:
    gone = restore("doctor", "--measure", "--model", "gone")
    assert gone.exit_code == 4
    assert "problem      speed: no model 'gone'" in gone.stdout
    program = restore("doctor", "--measure", "--model", str(small_program))
    assert program.exit_code == 2
    assert "only torch runs a .pt2 file" in program.stdout
    assert "auto         torch: it runs .pt2 files" in restore("doctor", "--model", str(small_program)).stdout
    Path("a.plan").touch()
    assert "auto         tensorrt: it runs .plan files" in restore("doctor", "--model", "a.plan").stdout
