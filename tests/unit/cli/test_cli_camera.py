"""`restore camera`: what it writes, when it ends, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from restore_sdk.cli.camera import camera
from restore_sdk.stream import camera_sources

av = pytest.importorskip("av", reason="needs the extra video")

app = typer.Typer()
app.command()(camera)


CAMERA = "rtsp://camera/in"


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """12 pictures of 48 x 64 pixels, half a second: what each connection to CAMERA gives."""
    with av.open(str(tmp_path / "in.mkv"), "w") as output:
        stream = output.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            pixels = np.full((48, 64, 3), 10 * number, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))
    true = camera_sources.NetworkCamera.__init__

    def connect(self: camera_sources.NetworkCamera, source: str, options: Any) -> None:
        true(self, str(tmp_path / "in.mkv") if source == CAMERA else source, options)

    monkeypatch.setattr(camera_sources.NetworkCamera, "__init__", connect)
    return tmp_path / "in.mkv"


def run(small_model: Path, *words: object) -> Any:
    given = ["--model", small_model, "--device", "cpu", "--backend", "onnxruntime", "--threads", 1, "--policy", "block", *words]
    return CliRunner().invoke(app, [str(word) for word in given])


def test_so_many_pictures_into_a_file(small_model: Path, clip: Path, tmp_path: Path) -> None:
    result = run(small_model, CAMERA, "-o", tmp_path / "out.mp4", "--frames", 5, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["command"], said["restored"], said["dropped"], said["error"]) == ("camera", 5, 0, None)
    assert said["health"]["connections"] == 1
    assert said["runtime"]["backend"] == "onnxruntime"
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert sum(1 for _ in made.decode(video=0)) == 5


def test_so_many_seconds(small_model: Path, clip: Path, tmp_path: Path) -> None:
    result = run(small_model, CAMERA, "-o", tmp_path / "out.mp4", "--seconds", 0.25)
    assert result.exit_code == 0, result.output
    assert "7 pictures restored" in result.stdout


def test_camera_gone_for_good_keeps_what_came(
    small_model: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    true = camera_sources.NetworkCamera.__init__

    def once(self: camera_sources.NetworkCamera, source: str, options: Any) -> None:
        opened.append(1)
        true(self, source if len(opened) == 1 else "missing.mkv", options)

    monkeypatch.setattr(camera_sources.NetworkCamera, "__init__", once)
    result = run(small_model, CAMERA, "-o", tmp_path / "out.mp4", "--give-up-after", 0.1, "--json")
    assert result.exit_code == 3
    said = json.loads(result.stdout)
    assert said["restored"] == 12
    assert "given up" in said["error"]["message"]
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert sum(1 for _ in made.decode(video=0)) == 12


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["missing.mkv", "--give-up-after", "0.1", "-o", "out.mp4"], 3, "given up"),
        (["in.mkv", "-o", "out.mp4"], 2, "in.mkv is a file, not a camera; pass it to `restore video`"),
        (["file:in.mkv", "-o", "out.mp4"], 2, "file:in.mkv is a file, not a camera"),
        ([CAMERA, "-o", "none/out.mp4"], 3, "does not exist"),
        ([CAMERA, "-o", "out.mp4", "--codec", "libxyz"], 2, "libxyz is no encoder of this build that mp4 takes; those are: "),
        ([CAMERA, "-o", "in.mkv"], 2, "in.mkv exists; pass --overwrite to replace it, or another OUT"),
        ([CAMERA, "-o", "gopher://host"], 2, "no way to send"),
        ([CAMERA, "-o", "noname"], 2, "no container is known for that name"),
        ([CAMERA, "-o", "out.mp4", "--seconds", "-1"], 2, "pass more than 0"),
        ([CAMERA, "-o", "out.mp4", "--policy", "hope"], 2, "none of latest-only"),
        ([CAMERA, "-o", "out.mp4", "--transport", "smoke"], 2, "transport"),
        ([CAMERA, "-o", "out.mp4", "--max-age", "1"], 2, "max_age"),
    ],
)
def test_what_cannot_be(
    small_model: Path, clip: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(clip.parent)
    result = run(small_model, *words)
    assert result.exit_code == code, result.output
    assert said in result.output
