"""Quality goes into the spec and the registry; the graph stays."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from export.card import read_quality, write_card
from export.errors import OutputError
from export.produce import Exported
from export.stamp import read_stamped, sha256, without_metadata
from restore_sdk.errors import ModelDamagedError, ModelNotFoundError, OptionsError

ROWS = [
    {"set": "CBSD68", "sigma": 25, "psnr": 30.5, "ssim": 0.87},
    {"set": "PolyU", "sigma": None, "psnr": 37.25, "ssim": None},
]


@pytest.fixture
def model(exported: Exported, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(exported.path.read_bytes())
    return path


def as_file(folder: Path, values: Any, name: str = "results.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(values))
    return path


def registry(folder: Path, *files: str) -> Path:
    entries = [
        {"name": file.split(".", maxsplit=1)[0], "file": file, "sha256": "0", "size": 1, "summary": "grün"} for file in files
    ]
    return as_file(folder, {"schema": 1, "models": entries}, "models.json")


def test_only_quality_changes(model: Path, exported: Exported, tmp_path: Path) -> None:
    carded = write_card(model, as_file(tmp_path, ROWS))
    content, spec = read_stamped(model)
    assert spec == carded.spec
    assert list(spec.quality) == ROWS
    assert dataclasses.replace(spec, quality=(), sha256="") == dataclasses.replace(exported.spec, sha256="")
    assert without_metadata(content) == without_metadata(exported.path.read_bytes())
    assert (carded.sha256, carded.size) == (sha256(content), len(content))


def test_texts_change_when_given(model: Path) -> None:
    spec = write_card(model, licence="CC-BY-4.0", trained_on="own photographs").spec
    assert (spec.licence, spec.trained_on, spec.name) == ("CC-BY-4.0", "own photographs", "tiny")
    assert write_card(model, licence="").spec.trained_on == "own photographs"


def test_another_target_leaves_the_model(model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    carded = write_card(model, as_file(tmp_path, ROWS), target=tmp_path / "carded.onnx")
    assert model.read_bytes() == before
    assert sha256((tmp_path / "carded.onnx").read_bytes()) == carded.sha256


def test_the_registry_entry_follows(model: Path, tmp_path: Path) -> None:
    models = registry(tmp_path, "other.onnx", "tiny.onnx")
    carded = write_card(model, as_file(tmp_path, ROWS), registry=models, licence="CC0-1.0")
    other, tiny = json.loads(models.read_text())["models"]
    assert other == {"name": "other", "file": "other.onnx", "sha256": "0", "size": 1, "summary": "grün"}
    assert (tiny["sha256"], tiny["size"], tiny["quality"]) == (sha256(model.read_bytes()), carded.size, ROWS)
    assert (tiny["licence"], tiny["summary"]) == ("CC0-1.0", "grün")


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"schema": 2, "models": []}, OptionsError),
        ([], OptionsError),
        ({"schema": 1, "models": [{"name": "other", "file": "other.onnx"}]}, ModelNotFoundError),
    ],
)
def test_a_bad_registry_stops_before_anything_is_written(
    values: Any, error: type[Exception], model: Path, tmp_path: Path
) -> None:
    before = model.read_bytes()
    models = as_file(tmp_path, values, "models.json")
    with pytest.raises(error):
        write_card(model, as_file(tmp_path, ROWS), registry=models)
    assert model.read_bytes() == before
    assert json.loads(models.read_text()) == values


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ({}, "quality"),
        ([1], "quality"),
        ([{"sigma": 25, "psnr": 30.0, "ssim": 0.9}], "quality[0].set"),
        ([ROWS[0], {**ROWS[0], "psnr": None}], "quality[1].psnr"),
        ([{**ROWS[0], "ssim": "0.9"}], "quality[0].ssim"),
        ([{**ROWS[0], "psnr": float("nan")}], "quality[0].psnr"),
        ([{**ROWS[0], "sigma": True}], "quality[0].sigma"),
        ([{"set": "a", "psnr": 30.0, "ssim": 0.9}], "quality[0].sigma"),
    ],
)
def test_bad_results_are_named(rows: Any, name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionsError) as caught:
        read_quality(as_file(tmp_path, rows))
    assert caught.value.name == name


def test_results_that_are_no_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff{")
    for name in ("a.json", "missing.json"):
        with pytest.raises(OptionsError):
            read_quality(tmp_path / name)


def test_a_damaged_model_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(b"\x08\x0a\x12")
    with pytest.raises(ModelDamagedError):
        write_card(path, licence="CC0-1.0")
    assert path.read_bytes() == b"\x08\x0a\x12"


def test_a_missing_folder_is_told(model: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="create it first"):
        write_card(model, licence="CC0-1.0", target=tmp_path / "nowhere" / "a.onnx")
