"""Who is to blame for a configuration that cannot be used, what was probably meant, and what the help pages show."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.__main__ import app
from training.engine.config import ConfigError, known_keys, read_config
from training.methods import check_method
from training.self_supervised.config import SelfSupervisedConfig
from training.unir.config import UnirConfig

ROOT = Path(__file__).resolve().parents[3]
SMALL = 'name = "a"\n[data]\nfolders = ["photos"]\n'
UNIR = 'corruption = "remove-pixel:p=0.9"\n' + SMALL


def mistakes(tmp_path: Path, text: str, *overrides: str) -> str:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_config(SelfSupervisedConfig, path, overrides)
    return str(caught.value).replace(str(path), "c.toml")


def test_set_is_blamed_for_what_it_set(tmp_path: Path) -> None:
    assert mistakes(tmp_path, SMALL, "trainer.max_second=60") == (
        "--set: trainer.max_second: unknown key, did you mean trainer.max_seconds?"
    )


def test_the_file_is_blamed_for_the_rest(tmp_path: Path) -> None:
    told = mistakes(tmp_path, SMALL + 'sigmas = 3\nterms = 5\n[loss]\nkind = "l1"\n', "trainer.seed=-1", "xyz=1").split("; ")
    assert told[0].startswith("--set: trainer.seed: ")
    assert told[1] == "c.toml: data.terms: Input should be a valid string, got 5"
    assert told[2] == "data.sigmas: unknown key, did you mean data.sigma?"
    assert told[3].startswith("loss.kind: Input should be 'r2r'")
    assert told[4] == "--set: xyz: unknown key"


def test_a_mistake_between_keys_may_be_of_both(tmp_path: Path) -> None:
    assert mistakes(tmp_path, SMALL, "data.sigma=[9, 3]").startswith("c.toml with --set: data: sigma must be")
    assert mistakes(tmp_path, SMALL, "data.folders=[]").startswith("--set: data.folders: ")
    assert mistakes(tmp_path, SMALL + "sigma = [9, 3]\n", "loss.tau=0.2").startswith("c.toml: data: sigma must be")


def test_keys_are_those_of_the_tables() -> None:
    keys = known_keys(UnirConfig)
    assert {"name", "corruption", "data.folders", "loss.kind", "trainer.betas", "discriminator.layers"} <= set(keys)
    assert "trainer" not in keys
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("method", "text", "message"),
    [
        ("unir", SMALL, "is for self_supervised, not unir (it has no 'corruption'); run: python -m training self_supervised"),
        ("self_supervised", UNIR, "is for unir, not self_supervised (it has 'corruption'); run: python -m training unir"),
    ],
)
def test_a_configuration_of_another_method_is_one_line(method: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        check_method(method, path, ())
    assert str(caught.value) == f"{path}: this configuration {message}"
    result = CliRunner().invoke(app, [method, "--config", str(path)])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("method", "text"), [("unir", UNIR), ("self_supervised", SMALL), ("self_supervised", SMALL + "[speed]\n")]
)
def test_what_is_plainly_ours_or_nobodys_is_left_to_the_checks(method: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    check_method(method, path, ["loss.knd=1"])


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_every_configuration_is_of_one_method_and_says_whose_images_it_names(path: Path) -> None:
    accepted = []
    for method in ("self_supervised", "unir"):
        try:
            check_method(method, path, ())
        except ConfigError:
            continue
        accepted.append(method)
    assert len(accepted) == 1
    assert "--data" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["unir", "--config", "c.toml"], "training.command"),
        (["degrade", "a.png", "-o", "b.png", "--corruption", "remove-pixel:p=0.9"], "training.degrade_command"),
    ],
)
def test_a_missing_extra_ends_with_5(arguments: list[str], module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 5
    assert "pip install 'restore-sdk[train]'" in result.output


@pytest.mark.parametrize("command", ["self_supervised", "unir", "degrade"])
def test_help_is_whole_in_a_narrow_terminal(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80"}).output
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
