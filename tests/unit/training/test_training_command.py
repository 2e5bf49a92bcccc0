"""python -m training, in this process: exit codes, one line for each mistake, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
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
    assert result.stdout == f"{tmp_path / 'runs' / 'tiny'}: 2 steps\n"
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


def test_a_folder_that_cannot_be_made_ends_with_1(config: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    assert call(config).exit_code == 1


def test_help_and_an_unknown_method() -> None:
    assert "self_supervised" in CliRunner().invoke(app, ["--help"]).output
    assert CliRunner().invoke(app, ["magic", "--config", "x"]).exit_code == 2
