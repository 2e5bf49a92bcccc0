"""Pictures on disk and the program in this process, with the small network as its model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from restore_sdk.cli.main import app
from restore_sdk.restorer import Restorer
from restore_sdk.zoo import registry

Restore = Callable[..., Result]


def save_picture(path: Path, height: int = 24, width: int = 20, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """picture(name, height, width, seed): a file of noise below the test's folder."""

    def save(name: str = "a.png", height: int = 24, width: int = 20, seed: int = 0) -> Path:
        return save_picture(tmp_path / name, height, width, seed)

    return save


@pytest.fixture
def restore(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Restore:
    """restore("image", ...): the program run in the test's folder; `restore image` gets the small model and one thread."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, model: Path | str | None = small_model) -> Result:
        flags = ["-m", str(model), "--threads", "1"] if arguments[0] == "image" and model is not None else []
        return CliRunner().invoke(app, [str(arguments[0]), *flags, *map(str, arguments[1:])])

    return run


@pytest.fixture
def zoo(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of bundled models: "denoise" is the small network, "broken" has a wrong hash."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    content = small_model.read_bytes()
    shared = {
        "file": "small.onnx",
        "size": len(content),
        "method": "self_supervised",
        "licence": "Apache-2.0",
        "summary": "Small.",
    }
    shared |= {
        "task": "denoise",
        "trained_on": "nothing",
        "terms": "none",
        "quality": [{"set": "CBSD68", "sigma": 25, "psnr": 30.5}],
    }
    denoise = {"name": "denoise", "sha256": hashlib.sha256(content).hexdigest(), **shared}
    broken = {"name": "broken", "sha256": "0" * 64, **shared}
    (folder / "small.onnx").write_bytes(content)
    (folder / "models.json").write_text(json.dumps({"schema": registry.SCHEMA, "models": [denoise, broken]}))
    monkeypatch.setattr(registry, "FOLDER", folder)
    return folder


@pytest.fixture
def sound_zoo(zoo: Path) -> Path:
    """The same without "broken"."""
    listing = json.loads((zoo / "models.json").read_text())
    (zoo / "models.json").write_text(json.dumps({**listing, "models": listing["models"][:1]}))
    return zoo


@pytest.fixture
def as_json() -> Callable[[Result], dict[str, Any]]:
    """The one JSON object on stdout."""

    def parse(result: Result) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(result.stdout)
        return parsed

    return parse


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, BaseException], None]:
    """failing(name, error): restore_file raises `error` for the file of that name."""

    def install(name: str, error: BaseException) -> None:
        genuine = Restorer.restore_file

        def restore_file(self: Restorer, source: Path, target: Path, **options: Any) -> Any:
            if Path(source).name == name:
                raise error
            return genuine(self, source, target, **options)

        monkeypatch.setattr(Restorer, "restore_file", restore_file)

    return install
