"""python -m training, in this process: exit codes, one line for each mistake, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from training import command as command_module
from training.__main__ import app
from training.engine.checkpoint import load_network
from training.engine.config import to_toml


@pytest.fixture
def config(configure: Any, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(to_toml(configure(trainer={"max_steps": 2}, data={"description": "secret photos"})), encoding="utf-8")
    return path


def call(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["self_supervised", "--config", str(config), *arguments])


def test_a_run_prints_where_it_lies(config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = call(config)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == f"{tmp_path / 'runs' / 'tiny'}: 2 steps"
    assert "Tip" not in capfd.readouterr().err


def test_json_is_all_there_is_on_stdout(config: Path, tmp_path: Path, photos: Path) -> None:
    report = json.loads(call(config, "--json", "--data", str(photos)).stdout)
    assert report["folder"] == str(tmp_path / "runs" / "tiny")
    assert report["trained_on"] == "4 images"


def test_a_trial_leaves_the_real_run_alone(config: Path, tmp_path: Path) -> None:
    real = tmp_path / "runs" / "tiny"
    assert call(config, "--set", "trainer.max_steps=1").exit_code == 0
    before = {path: path.read_bytes() for path in real.rglob("*") if path.is_file()}
    for _ in range(2):  # a second trial needs no --overwrite
        assert call(config, "--fast-dev-run").exit_code == 0
    assert {path: path.read_bytes() for path in real.rglob("*") if path.is_file()} == before
    assert load_network(tmp_path / "runs" / "tiny-fast-dev")[1]["steps"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "trainer.step=3"], "trainer.step: unknown key"),
        (["--data", "nowhere"], "nowhere is not a folder; pass --data"),
        (["--resume", "--overwrite"], "contradict each other"),
        (["--set", "data.patch=64"], "no usable image of at least 64 pixels"),
        (["--set", "trainer.accelerator=cuda", "--set", "trainer.devices=64"], "cannot be used"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(
    config: Path, tmp_path: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(command_module, "_say", lambda text, style=None: said.append(text))
    result = call(config, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in said[-1]
    assert said[-1].startswith("error: ")
    assert not (tmp_path / "runs" / "tiny" / "config.toml").exists()


def test_an_existing_run_ends_with_2_before_the_data_is_read(config: Path, tmp_path: Path) -> None:
    assert call(config).exit_code == 0
    result = call(config, "--data", "nowhere")
    assert result.exit_code == 2
    assert load_network(tmp_path / "runs" / "tiny")[1]["steps"] == 2


def test_a_finished_run_is_reported_as_its_file_says(config: Path, tmp_path: Path) -> None:
    first = json.loads(call(config, "--json").stdout)
    assert first["learning_rates"] == [{"from_step": 0, "trainer.learning_rate": 1e-3}]
    again = call(config, "--resume", "--json", "--set", "trainer.learning_rate=0.1", "--set", "data.description=others")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == first
    assert first["trained_on"] == "secret photos"


def test_other_settings_end_with_2_before_the_data_is_read(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(command_module, "_say", lambda text, style=None: said.append(text))
    assert call(config).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    result = call(config, "--resume", "--data", "nowhere", "--set", "trainer.max_steps=9", "--set", "trainer.seed=3")
    assert result.exit_code == 2
    assert "trainer.seed=3 instead of 0" in said[-1]
    assert "data.folders=['nowhere'] instead of" in said[-1]
    assert "max_steps" not in said[-1]
    assert "--set name=..." in said[-1]
    assert {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore"),
    ],
)
def test_memory_that_is_not_there_ends_with_1_and_one_line(
    config: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    said: list[str] = []
    monkeypatch.setattr(command_module, "_say", lambda text, style=None: said.append(text))
    monkeypatch.setattr(command_module, "fit", fail)
    assert call(config).exit_code == 1
    assert said[-1].startswith("error: out of memory, lower data.batch or data.patch (")
    assert "\n" not in said[-1]


def test_a_batch_that_no_memory_holds_is_refused_at_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(command_module, "_say", lambda text, style=None: said.append(text))
    assert call(config, "--set", "data.batch=100000000000").exit_code == 1
    assert said[-1].startswith("error: out of memory, lower data.batch")


def test_other_runtime_errors_are_not_taken_for_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(command_module, "fit", fail)
    assert isinstance(call(config).exception, RuntimeError)


def test_a_full_disk_ends_with_1_and_what_to_do(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    said: list[str] = []
    monkeypatch.setattr(command_module, "_say", lambda text, style=None: said.append(text))
    monkeypatch.setattr(Path, "write_bytes", full)
    assert call(config).exit_code == 1
    assert "cannot be written: No space left on device" in said[-1]
    assert said[-1].endswith("make room, or choose another folder, then pass --resume to go on")


def test_a_folder_that_cannot_be_made_ends_with_1(config: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    assert call(config).exit_code == 1


def test_help_and_an_unknown_method() -> None:
    assert "143" in CliRunner().invoke(app, ["self_supervised", "--help"]).output
    assert "self_supervised" in CliRunner().invoke(app, ["--help"]).output
    assert CliRunner().invoke(app, ["magic", "--config", "x"]).exit_code == 2
