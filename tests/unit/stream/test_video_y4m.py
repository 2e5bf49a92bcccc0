"""y4m, from a file or a pipe, that ends in the middle of a picture; and pictures that are no video."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("av", reason="needs the extra [video]")

from PIL import Image
from video_clips import contents

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec
from restore_sdk.stream import video_parts, video_writing
from restore_sdk.stream.errors import VideoReadError
from restore_sdk.stream.video import restore_video
from restore_sdk.stream.video_options import VideoOptions
from restore_sdk.stream.video_source import VideoSource
from restore_sdk.stream.y4m_input import CountedInput

SPEC = ModelSpec(name="copy", method="none", task="denoise", receptive_radius=0)
COPY = Restorer(FunctionBackend(SPEC, np.copy))
HEADER = b"YUV4MPEG2 W16 H16 F30000:1001 Ip A1:1 C420jpeg\n"
PICTURE = bytes(range(60, 188)) * 3  # 16 x 16 luma and two quarters of chroma
SEVEN = "it breaks off in the middle of a picture after 0.233 s; pass an end of 0.233 s to restore what is there"

Source = Callable[[bytes], Path | str]


@pytest.fixture(params=["file", "pipe"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """source(content): what to pass to restore_video so that it reads `content`."""

    def file(content: bytes) -> Path:
        (tmp_path / "clip.y4m").write_bytes(content)
        return tmp_path / "clip.y4m"

    def pipe(content: bytes) -> str:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        return "-"

    return file if request.param == "file" else pipe


def pictures(count: int, head: bytes = b"FRAME\n") -> bytes:
    return (head + PICTURE) * count


@pytest.mark.parametrize("rest", [b"FRAME\n" + PICTURE[:-1], b"FRAME\n", b"FR", b"F"], ids=["body", "no body", "head", "byte"])
@pytest.mark.parametrize("head", [b"FRAME\n", b"FRAME Ixyz\n"], ids=["plain", "parameters"])
def test_a_part_of_a_picture_is_an_error(source: Source, head: bytes, rest: bytes, tmp_path: Path) -> None:
    content = HEADER + pictures(7, head) + rest
    with pytest.raises(VideoReadError, match=SEVEN):
        restore_video(COPY, source(content), tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()
    restore_video(COPY, source(content), tmp_path / "out.mkv", VideoOptions(end=0.233))
    assert len(contents(tmp_path / "out.mkv").times) == 7


@pytest.mark.parametrize("head", [b"FRAME\n", b"FRAME Ixyz\n"], ids=["plain", "parameters"])
@pytest.mark.parametrize("start", [None, 0.1])
def test_whole_pictures_are_none(source: Source, head: bytes, start: float | None, tmp_path: Path) -> None:
    restore_video(COPY, source(HEADER + pictures(7, head)), tmp_path / "out.mkv", VideoOptions(start=start))
    assert len(contents(tmp_path / "out.mkv").times) == (7 if start is None else 4)


def test_nothing_but_a_part_of_the_first_picture(source: Source, tmp_path: Path) -> None:
    with pytest.raises(VideoReadError, match="no frame that can be decoded"):
        restore_video(COPY, source(HEADER + b"FRAME\n" + PICTURE[:9]), tmp_path / "out.mkv")


def test_what_is_no_y4m_on_standard_input_is_told_how_to_become_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"RIFF of another kind")))
    with pytest.raises(VideoReadError, match=r"standard input is no y4m; put ffmpeg -i FILE -f yuv4mpegpipe"):
        VideoSource("-")


@pytest.mark.parametrize(("head", "format"), [("Cmono", "gray"), ("C420p10", "yuv420p10le"), ("C444", "yuv444p")])
def test_y4m_of_every_kind_stays_what_it_is(head: str, format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=io.BytesIO()))
    body = bytes(16 * 16 * (1 if head == "Cmono" else 3))
    (tmp_path / "clip.y4m").write_bytes(f"YUV4MPEG2 W16 H16 F25:1 Ip A1:1 {head}\n".encode() + b"FRAME\n" + body)
    report = restore_video(COPY, tmp_path / "clip.y4m", "-")
    assert report.format == format
    written = sys.stdout.buffer.getvalue()
    assert written.split(b"\n")[0].split()[6].decode() == head
    assert len(written.split(b"FRAME\n")[1]) == len(body)


def test_parts_before_the_break_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (video_parts, video_writing):
        monkeypatch.setattr(module, "PART_FRAMES", 3)
    (tmp_path / "clip.y4m").write_bytes(HEADER + pictures(7) + b"FRAME\n")
    with pytest.raises(VideoReadError, match=SEVEN):
        restore_video(COPY, tmp_path / "clip.y4m", tmp_path / "out.mkv")
    options = VideoOptions(end=0.233, resume=True)
    report = restore_video(COPY, tmp_path / "clip.y4m", tmp_path / "out.mkv", options)
    assert (report.frames, report.resumed) == (7, 6)


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.webp", "p.tif", "p.bmp", "p.gif", "p.avif", "p.ppm"])
def test_a_picture_is_no_video(tmp_path: Path, name: str) -> None:
    try:
        Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (48, 1))).convert("RGB").save(tmp_path / name)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow does not write {name}")
    with pytest.raises(VideoReadError, match="it is a picture, no video; pass it to `restore image`"):
        VideoSource(tmp_path / name)
    (tmp_path / name).rename(tmp_path / "noname")
    with pytest.raises(VideoReadError):
        VideoSource(tmp_path / "noname")


def test_numbered_pictures_are_a_video(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.full((32, 32, 3), 80 * number, np.uint8)).save(tmp_path / f"p{number:03d}.png")
    restore_video(COPY, tmp_path / "p%03d.png", tmp_path / "out.mkv")
    assert len(contents(tmp_path / "out.mkv").times) == 3


def test_a_gif_that_moves_is_a_video(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((32, 32, 3), 80 * number, np.uint8)) for number in range(3)]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:], duration=100)
    restore_video(COPY, tmp_path / "clip.gif", tmp_path / "out.mkv")
    assert len(contents(tmp_path / "out.mkv").times) == 3


def test_an_input_that_stalls_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    try:
        with open(reading, "rb", closefd=False) as stream:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
            os.write(writing, b"YUV")
            counted = CountedInput()
            assert counted.read(32768) == b"YUV"
            threading.Timer(0.1, counted.stop).start()
            assert counted.read(32768) == b""
            assert (counted.taken, counted.interrupted) == (3, False)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("begun", [b"", HEADER + pictures(2)], ids=["silent", "stalled"])
def test_interrupted_while_standard_input_stalls(begun: bytes, small_model: Path, tmp_path: Path) -> None:
    words = ["video", "-", "-o", str(tmp_path / "out.mkv"), "-m", str(small_model), "--threads", "1", "--device", "cpu"]
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED_AT_ITS_INPUT, *words], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdin is not None
        assert program.stderr is not None
        program.stdin.write(begun)
        program.stdin.flush()
        assert program.stderr.readline() == b"reading\n"
        program.send_signal(signal.SIGINT)
        said = program.stderr.read()
    assert program.returncode == 130, said
    assert b"interrupted" in said
    assert b"Traceback" not in said


INTERRUPTED_AT_ITS_INPUT = """
import sys
from restore_sdk.cli.start import main
from restore_sdk.stream import y4m_input
ready, waits = y4m_input._is_ready, []
def noted(stream):
    answer = ready(stream)
    if not answer and not waits:
        waits.append(True)
        print("reading", file=sys.stderr, flush=True)
    return answer
y4m_input._is_ready = noted
sys.argv = ["restore", *sys.argv[1:]]
main()
"""
