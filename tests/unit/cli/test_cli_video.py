"""`restore video`: flags, report, exit codes, and pipes."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="needs the extra [video]")

import av
import cv2
import typer
from typer.testing import CliRunner, Result

import restore_sdk.cli.video as video_module
from restore_sdk.backends.onnx_runtime import OnnxRuntimeBackend
from restore_sdk.cli.video import clock, video
from restore_sdk.errors import BackendError
from restore_sdk.stream import video_parts, video_writing

Run = Callable[..., Result]
Y4M = [sys.executable, "-c", "from restore_sdk.cli.video import video; import typer; typer.run(video)"]


def make_clip(path: Path, count: int = 6, rate: int = 25) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=rate, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 + 20 * number, np.uint8), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def frames_of(source: Any, **options: Any) -> list[Any]:
    with av.open(source, **options) as file:
        return [(frame.pts, frame.format.name, frame.width, frame.height) for frame in file.decode(video=0)]


@pytest.fixture
def run(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """run("clip.mp4", "-o", "out.mp4"): the command in the test's folder with the small model."""
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "clip.mp4")
    app = typer.Typer()
    app.command()(video)
    model = ["-m", str(small_model), "--threads", "1", "--device", "cpu"]
    return lambda *arguments: CliRunner().invoke(app, [*arguments, *model])


def test_a_video_is_restored(run: Run, tmp_path: Path) -> None:
    result = run("clip.mp4", "-o", "out.mp4")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("restored  clip.mp4 -> out.mp4  32 x 32  6 pictures  libx264 yuv420p")
    assert len(frames_of(str(tmp_path / "out.mp4"))) == 6


def test_json(run: Run, as_json: Callable[[Result], dict[str, Any]]) -> None:
    result = as_json(run("clip.mp4", "-o", "out.mkv", "--codec", "libx265", "--crf", "30", "--json"))
    assert (result["command"], result["exit_code"]) == ("video", 0)
    report = result["report"]
    assert (report["target"], report["frames"], report["codec"], report["resumed"]) == ("out.mkv", 6, "libx265", 0)
    assert result["runtime"]["model"] == "small"


def test_start_end_and_reuse(run: Run, as_json: Callable[[Result], dict[str, Any]]) -> None:
    flags = ["--start", "0.04", "--end", "0.16", "--reuse", "--tile", "16", "--json"]
    report = as_json(run("clip.mp4", "-o", "out.mp4", *flags))["report"]
    assert (report["frames"], report["reused"]) == (3, 0.0)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["none.mp4", "-o", "out.mp4"], 3, "cannot read none.mp4: it does not exist"),
        (["clip.mp4", "-o", "none/out.mp4"], 3, "create it first"),
        (["clip.mp4", "-o", "."], 3, "it is a directory"),
        (["clip.mp4", "-o", "out.mp4", "--codec", "libxyz"], 2, "codec='libxyz'"),
        (["clip.mp4", "-o", "out.mp4", "--decoder", "xyz"], 5, "'xyz' is not available here"),
        (["clip.mp4", "-o", "out.mp4", "--start", "9"], 3, "no picture lies between"),
        (["clip.mp4", "-o", "-", "--json"], 2, "both write to stdout"),
        (["clip.mp4", "-o", "-", "--crf", "3"], 2, "which gets y4m"),
    ],
)
def test_failures(arguments: list[str], code: int, said: str, run: Run) -> None:
    result = run(*arguments)
    assert result.exit_code == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_the_code_of_a_picture_is_that_of_its_cause(
    run: Run, as_json: Callable[[Result], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BackendError("the runtime is gone")

    monkeypatch.setattr(OnnxRuntimeBackend, "infer", fail)
    result = run("clip.mp4", "-o", "out.mp4", "--json")
    assert result.exit_code == 5
    assert as_json(result)["error"]["message"] == "frame 0 could not be restored: the runtime is gone"


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch, as_json: Callable[[Result], dict[str, Any]]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(video_writing.Container, "write", interrupt)
    for module in (video_parts, video_writing):
        monkeypatch.setattr(module, "PART_FRAMES", 4)
    result = run("clip.mp4", "-o", "out.mp4")
    assert result.exit_code == 130
    assert result.stderr == "error: interrupted; 4 of 6 pictures kept; go on with --resume and the same settings\n"
    assert as_json(run("clip.mp4", "-o", "out.mp4", "--resume", "--json"))["error"]["message"].startswith("interrupted; 4 of 6")


def test_interrupted_before_anything_is_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(video_writing.Container, "write", interrupt)
    result = run("clip.mp4", "-o", "out.mp4")
    assert result.stderr == "error: interrupted; 0 of 6 pictures kept; they are kept 240 at a time\n"


def test_lines_now_and_then_where_there_is_no_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "SECONDS_BETWEEN_NOTES", 0.0)
    lines = run("clip.mp4", "-o", "out.mp4").stderr.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"{number} of 6 pictures" for number in range(1, 7)]
    assert re.fullmatch(r"6 of 6 pictures, [0-9.]+ fps, 0:00:00 to go", lines[-1])
    assert run("clip.mp4", "-o", "b.mp4", "--json").stderr == ""


@pytest.mark.parametrize("out", ["vv", "vv.xyz", "vv.h264"])
def test_a_target_that_is_no_container_is_named(run: Run, tmp_path: Path, out: str) -> None:
    result = run("clip.mp4", "-o", out)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: cannot write {out}: ")
    assert "end its name in .mp4, .mkv, .mov or .webm" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_resume(run: Run) -> None:
    result = run("clip.mp4", "-o", "out.mp4", "--resume")
    assert (result.exit_code, result.stderr) == (0, "nothing to resume, starting anew\n")
    again = run("clip.mp4", "-o", "out.mp4", "--resume")
    assert (again.exit_code, again.stderr) == (2, "error: out.mp4 exists; pass --overwrite to replace it, or another OUT\n")
    assert run("clip.mp4", "-o", "out.mp4", "--overwrite").exit_code == 0
    assert "clip.mp4 exists; pass --overwrite" in run("clip.mp4", "-o", "clip.mp4").stderr


def pipe(model: Path, given: bytes, *arguments: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    command = [*Y4M, *arguments, "-m", str(model), "--threads", "1", "--device", "cpu"]
    return subprocess.run(command, input=given, capture_output=True, cwd=folder, check=False)


def test_pipes(run: Run, small_model: Path, tmp_path: Path) -> None:
    """A file to y4m, y4m to y4m, and y4m to a file."""
    first = pipe(small_model, b"", "clip.mp4", "-o", "-", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(b"YUV4MPEG2 W32 H32 F25:1 ")
    assert b"restored  clip.mp4 -> standard stream" in first.stderr
    wanted = [(number, "yuv420p", 32, 32) for number in range(6)]
    assert frames_of(io.BytesIO(first.stdout)) == wanted
    second = pipe(small_model, first.stdout, "-", "-o", "-", folder=tmp_path)
    assert second.returncode == 0, second.stderr
    assert frames_of(io.BytesIO(second.stdout)) == wanted
    third = pipe(small_model, second.stdout, "-", "-o", "out.mkv", folder=tmp_path)
    assert third.returncode == 0, third.stderr
    assert len(frames_of(str(tmp_path / "out.mkv"))) == 6


def test_pipe_of_the_model_that_copies_keeps_the_bits(tmp_path: Path) -> None:
    program = (
        "import numpy as np\nfrom restore_sdk import *\nfrom restore_sdk.stream.video import restore_video\n"
        "spec = ModelSpec(name='copy', method='none', task='denoise', receptive_radius=0)\n"
        "restore_video(Restorer(FunctionBackend(spec, np.copy)), '-', '-')\n"
    )
    random = np.random.default_rng(0)
    luma, gray = random.integers(60, 190, 32 * 32, np.uint8).tobytes(), bytes([128]) * 2048
    frames = b"FRAME\n" + luma + gray + b"FRAME\n" + luma[::-1] + gray
    given = b"YUV4MPEG2 W32 H32 F30000:1001 Ip A1:1 C444 XYSCSS=444\n" + frames
    done = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    header, _, body = done.stdout.partition(b"\n")
    assert header.startswith(b"YUV4MPEG2 W32 H32 F30000:1001 Ip A1:1 C444")
    assert body == given.partition(b"\n")[2]


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0, 59.6, 3725)] == ["0:00:00", "0:01:00", "1:02:05"]


def test_a_video_by_deep_image_prior(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    mask = np.zeros((32, 32), np.uint8)
    mask[10:14, 8:20] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    fit = ["-m", "dip-inpaint", "--device", "cpu", "--width", "draft", "--max-iterations", "4", "--warm", "2"]
    app = typer.Typer()
    app.command()(video)
    words = ["clip.mp4", "-o", "out.mp4", "--mask", "mask.png", "--json", *fit]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["report"]["frames"] == 6
    assert said["runtime"]["last_fit"]["iterations"] == 2
    assert len(frames_of("out.mp4")) == 6


def test_a_mask_is_never_the_target(run: Run, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(video)
    mask = tmp_path / "mask.gif"
    mask.write_bytes(b"a mask")
    words = ["clip.mp4", "-o", str(mask), "--overwrite", "-m", "dip-inpaint", "--mask", str(mask)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "--out is the file of --mask" in result.stderr
    assert mask.read_bytes() == b"a mask"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-m", "dip-inpaint"], "-m dip-inpaint needs --mask FILE"),
        (["-m", "dip-denoise", "--reuse"], "--reuse: not with -m dip-"),
        (["-m", "dip-denoise", "--workers", "2"], "1 with 'dip-...'"),
        (["-m", "dip-denoise", "--backend", "onnxruntime"], "--backend onnxruntime"),
        (["-m", "denoise", "--warm", "3"], "--warm: for models dip-... only"),
    ],
)
def test_flags_that_do_not_go_with_a_fit(run: Run, flags: list[str], message: str) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    app = typer.Typer()
    app.command()(video)
    result = CliRunner().invoke(app, ["clip.mp4", "-o", "out.mp4", *flags])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not Path("out.mp4").exists()
