from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restore_sdk.cli import models
from restore_sdk.options import DIP_TASKS

Restore = Callable[..., Any]
Parse = Callable[[Any], dict[str, Any]]


def test_list(restore: Restore, zoo: Path) -> None:
    result = restore("models", "list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[::2]] == ["denoise", "broken", *DIP_TASKS]
    assert all(line.strip().startswith("trained on ") for line in lines[1:4:2])
    assert all(line.strip().startswith("fitted to each image") and "[dip]" in line for line in lines[5::2])
    assert "Apache-2.0" in lines[0]
    assert lines[0].endswith("Small.")


def test_list_as_json(restore: Restore, zoo: Path, as_json: Parse) -> None:
    models = as_json(restore("models", "list", "--json"))["models"]
    assert [model["name"] for model in models] == ["denoise", "broken"]
    fitted = as_json(restore("models", "list", "--json"))["fitted_to_each_image"]
    assert [(model["name"], model["file"], model["extra"]) for model in fitted] == [(name, None, "dip") for name in DIP_TASKS]
    assert models[0]["path"] == str(zoo / "small.onnx")
    assert models[0]["quality"] == [{"set": "CBSD68", "sigma": 25, "psnr": 30.5}]


def test_show(restore: Restore, zoo: Path) -> None:
    result = restore("models", "show", "denoise")
    assert result.exit_code == 0
    fields = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if line.strip() and len(line.split()) > 1)
    assert fields["terms"] == "none"
    assert fields["size_multiple"] == "4"
    assert fields["path"] == str(zoo / "small.onnx")
    assert fields["quality"] == "set CBSD68  sigma 25  psnr 30.5"


@pytest.mark.parametrize(("name", "needs"), [("dip-inpaint", "--mask FILE"), ("dip-deblur", "--kernel IMAGE|BLUR")])
def test_show_of_what_has_no_file(restore: Restore, zoo: Path, as_json: Parse, name: str, needs: str) -> None:
    result = restore("models", "show", name)
    assert result.exit_code == 0
    fields = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert fields["method"] == "deep_image_prior"
    assert fields["needs"].startswith(needs)
    assert "None" not in result.stdout
    shown = as_json(restore("models", "show", name, "--json"))
    assert (shown["model"]["file"], shown["spec"]) == (None, {})


def test_there_is_nothing_to_verify_of_what_has_no_file(restore: Restore, zoo: Path) -> None:
    result = restore("models", "verify", "dip-inpaint")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "dip-inpaint has no file" in result.stderr


def test_the_help_names_what_can_be_a_model(restore: Restore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = " ".join(restore("image", "--help", model=None).stdout.replace("│", " ").split())
    assert "restore models list" in shown
    assert "dip-denoise, dip-inpaint, dip-super-resolve, dip-deblur" in shown


def test_show_has_words_and_no_python(restore: Restore, zoo: Path) -> None:
    listing = json.loads((zoo / "models.json").read_text())
    listing["models"][0]["quality"] = [
        {"set": "polyu", "sigma": None, "psnr": 36.31},
        {"set": "kodak24", "sigma": 5.0, "psnr": 39.0},
    ]
    (zoo / "models.json").write_text(json.dumps(listing))
    shown = restore("models", "show", "denoise").stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "quality set polyu real noise psnr 36.31" in lines
    assert "quality set kodak24 sigma 5 psnr 39" in lines
    assert "None" not in shown


@pytest.mark.parametrize(
    ("key", "value", "lines"),
    [
        ("source", {"torch": "2.13", "opset": "20"}, ["source torch 2.13", "source opset 20"]),
        ("source", {}, []),
        ("receptive_radius", None, ["receptive_radius the whole image"]),
        ("fast_halo", None, ["fast_halo -"]),
        ("receptive_radius", 31, ["receptive_radius 31"]),
    ],
)
def test_values_in_words(key: str, value: object, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    models._say_value(key, value)
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == lines


def test_show_as_json(restore: Restore, zoo: Path, as_json: Parse) -> None:
    shown = as_json(restore("models", "show", "broken", "--json"))
    assert shown["model"]["sha256"] == "0" * 64
    assert shown["spec"] == {}  # of a file with the wrong hash nothing is believed


@pytest.mark.parametrize("command", ["show", "verify"])
def test_unknown_name(restore: Restore, zoo: Path, command: str, as_json: Parse) -> None:
    result = restore("models", command, "sharpen", "--json")
    assert result.exit_code == 4
    assert "bundled models are: denoise, broken" in result.stderr
    assert as_json(result)["error"]["type"] == "ModelNotFoundError"


def test_verify_one(restore: Restore, zoo: Path) -> None:
    result = restore("models", "verify", "denoise")
    assert result.exit_code == 0
    assert result.stdout.split() == ["denoise", "ok"]


def test_verify_all_tells_which_is_wrong(restore: Restore, zoo: Path, as_json: Parse) -> None:
    result = restore("models", "verify")
    assert result.exit_code == 4
    assert [line.split() for line in result.stdout.splitlines()] == [["denoise", "ok"], ["broken", "FAILED"]]
    assert f"expected {'0' * 64}" in result.stderr
    verdicts = as_json(restore("models", "verify", "--json"))["models"]
    assert [(verdict["name"], verdict["ok"]) for verdict in verdicts] == [("denoise", True), ("broken", False)]
    assert verdicts[1]["error"]["type"] == "ModelHashError"


def test_restoring_with_a_wrong_hash_is_refused(restore: Restore, zoo: Path, picture: Callable[..., Path]) -> None:
    result = restore("image", picture(), "-o", "b.png", model="broken")
    assert result.exit_code == 4
    assert "sha256" in result.stderr


def test_damaged_list(restore: Restore, zoo: Path) -> None:
    (zoo / "models.json").write_text(json.dumps({"schema": 10_000, "models": []}))
    result = restore("models", "list")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert "install restore-sdk again" in result.stderr


def test_no_command_shows_the_help(restore: Restore) -> None:
    result = restore("models")
    assert "verify" in result.stdout + result.stderr
