from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Restore = Callable[..., Any]
Parse = Callable[[Any], dict[str, Any]]


def test_list(restore: Restore, zoo: Path) -> None:
    result = restore("models", "list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[::2]] == ["denoise", "broken"]
    assert all(line.strip().startswith("trained on ") for line in lines[1::2])
    assert "Apache-2.0" in lines[0]
    assert lines[0].endswith("Small.")


def test_list_as_json(restore: Restore, zoo: Path, as_json: Parse) -> None:
    models = as_json(restore("models", "list", "--json"))["models"]
    assert [model["name"] for model in models] == ["denoise", "broken"]
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
