"""Sources that are no video or break off, targets that cannot be written, codecs that are not there."""

from __future__ import annotations

import errno
import resource
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="needs the extra [video]")

import av
from video_clips import Recipe, contents, make

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.errors import DeviceUnavailableError, ImageReadError, ImageWriteError, OptionsError
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec
from restore_sdk.stream import video_parts
from restore_sdk.stream.errors import StreamError, VideoReadError, VideoWriteError, write_error
from restore_sdk.stream.video import restore_video
from restore_sdk.stream.video_options import VideoOptions

SPEC = ModelSpec(name="copy", method="none", task="denoise", receptive_radius=0)
COPY = Restorer(FunctionBackend(SPEC, np.copy))
LONG = Recipe(times=tuple(range(0, 75 * 512, 512)))  # 3 s


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make(tmp_path / "clip.mp4")


def refuse(source: Path, target: Path, **options: Any) -> pytest.ExceptionInfo[BaseException]:
    """The error, after which nothing is left of the target."""
    before = sorted(target.parent.iterdir()) if target.parent.is_dir() else []
    with pytest.raises((VideoReadError, VideoWriteError, OptionsError, DeviceUnavailableError, ImageWriteError)) as caught:
        restore_video(COPY, source, target, VideoOptions(**options))
    assert (sorted(target.parent.iterdir()) if target.parent.is_dir() else []) == before
    return caught


def test_no_such_file(tmp_path: Path) -> None:
    caught = refuse(tmp_path / "none.mp4", tmp_path / "out.mp4")
    assert caught.match("it does not exist; check the name")
    assert isinstance(caught.value, ImageReadError)


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100], ids=["empty", "text"])
def test_no_video_at_all(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    assert refuse(tmp_path / "clip.mp4", tmp_path / "out.mp4").type is VideoReadError


def test_a_folder_as_the_source(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert refuse(tmp_path / "folder", tmp_path / "out.mp4").type is VideoReadError


def test_cut_off_before_its_index(clip: Path, tmp_path: Path) -> None:
    clip.write_bytes(clip.read_bytes()[:2000])
    assert refuse(clip, tmp_path / "out.mp4").match("it is no video, or cut off before its index")


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_broken_off_in_the_middle(suffix: str, tmp_path: Path) -> None:
    """With the index in front, so that the file opens."""
    source = tmp_path / f"clip.{suffix}"
    make(source, Recipe(times=LONG.times, container_options={"movflags": "faststart"} if suffix == "mp4" else {}))
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    caught = refuse(source, tmp_path / "out.mp4")
    assert caught.type is VideoReadError
    assert caught.match(r"pass an end of \d\.\d+ s to restore what is there")
    end = float(str(caught.value).split("pass an end of ")[1].split(" s")[0])
    assert 0.5 < end < 2.9
    restore_video(COPY, source, tmp_path / "out.mp4", VideoOptions(end=end))
    assert 12 < len(contents(tmp_path / "out.mp4").times) < 73


def test_sound_alone(tmp_path: Path) -> None:
    source = tmp_path / "sound.wav"
    with av.open(str(source), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert refuse(source, tmp_path / "out.mp4").match("it has no video, only audio; name a file with pictures")


def test_not_one_picture(tmp_path: Path) -> None:
    source = tmp_path / "empty.y4m"
    source.write_bytes(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n")
    assert refuse(source, tmp_path / "out.mp4").type is VideoReadError


def test_no_picture_in_the_cut(clip: Path, tmp_path: Path) -> None:
    assert refuse(clip, tmp_path / "out.mp4", start=60.0).match("no picture lies between 60.0 s and its end; move the start")


@pytest.mark.parametrize("cut", [{"start": -1.0}, {"end": 0.0}, {"start": 2.0, "end": 1.0}, {"start": float("nan")}], ids=str)
def test_cuts_that_are_none(cut: dict[str, float]) -> None:
    with pytest.raises(OptionsError):
        VideoOptions(**cut)  # type: ignore[arg-type]


def test_size_that_changes(tmp_path: Path) -> None:
    parts = [
        make(tmp_path / f"{width}.ts", Recipe(codec="mpeg2video", width=width, times=range(12), time_base=Fraction(1, 25)))
        for width in (64, 80)
    ]
    source = tmp_path / "both.m2v"
    with source.open("wb") as joined:
        for part in parts:
            with av.open(str(part)) as file:
                joined.writelines(bytes(packet) for packet in file.demux(video=0) if packet.size)
    caught = refuse(source, tmp_path / "out.mkv")
    assert caught.match("its size changes from 64 x 48 to 80 x 48 pixels at .* restore the parts one by one")


def test_times_that_run_back(tmp_path: Path) -> None:
    part = make(tmp_path / "part.ts", Recipe(codec="mpeg2video", times=range(12), time_base=Fraction(1, 25)))
    source = tmp_path / "twice.ts"
    source.write_bytes(2 * part.read_bytes())
    assert refuse(source, tmp_path / "out.mkv").match(r"its times do not increase at \d\.\d+ s; write the file anew first")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing/out.mp4", "the folder .* does not exist"),
        ("out.xyz", "no container is known for the suffix '.xyz'"),
        ("out", "it has no suffix of a video; end its name in .mp4"),
        ("folder", "it is a directory"),
        *((f"out.{name}", f".{name} files do not hold each picture") for name in ("m3u8", "mka", "apng", "y4m", "mxf")),
    ],
)
def test_targets_that_cannot_be(name: str, said: str, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert refuse(clip, tmp_path / name).match(said)


def test_target_that_exists(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"mine")
    assert refuse(clip, target).match("it exists already")
    assert target.read_bytes() == b"mine"
    restore_video(COPY, clip, target, VideoOptions(overwrite=True))
    assert len(contents(target).times) == 12


def test_target_that_is_the_source(clip: Path) -> None:
    assert refuse(clip, clip).match("it is the source itself")
    before = contents(clip).times
    restore_video(COPY, clip, clip, VideoOptions(overwrite=True))
    assert contents(clip).times == before


def test_codec_that_is_not_there_lists_those_that_are(clip: Path, tmp_path: Path) -> None:
    caught = refuse(clip, tmp_path / "out.mp4", codec="libxyz")
    assert caught.match("codec='libxyz', expected an encoder of this build that the container takes: .*libx264, .*libx265")
    assert refuse(clip, tmp_path / "out.webm", codec="libx264").match("codec='libx264', expected .*libvpx-vp9")


def test_quality_that_the_codec_does_not_have(clip: Path, tmp_path: Path) -> None:
    assert refuse(clip, tmp_path / "out.mp4", crf=99).match(r"crf=99, expected 0 \(best\) to 51 with libx264")
    assert refuse(clip, tmp_path / "out.mkv", codec="ffv1", crf=5).match("crf=5, expected none with ffv1")


def test_decoder_that_is_not_there_lists_those_that_are(clip: Path, tmp_path: Path) -> None:
    caught = refuse(clip, tmp_path / "out.mp4", decoder="h265_cuvid")
    assert caught.type is DeviceUnavailableError
    assert "h264" in caught.value.available  # type: ignore[attr-defined]


@pytest.mark.parametrize("decoder", ["cuda", "drm", "h264_cuvid", "h264_v4l2m2m"])
def test_decoder_without_its_device_is_refused_not_replaced(decoder: str, clip: Path, tmp_path: Path) -> None:
    if decoder not in (*av.codecs_available, *av.codec.hwaccel.hwdevices_available()):
        pytest.skip(f"this build has no {decoder}")
    try:
        caught = refuse(clip, tmp_path / "out.mp4", decoder=decoder)
    except pytest.fail.Exception:
        pytest.skip(f"{decoder} works here")
    assert caught.type is DeviceUnavailableError
    assert caught.match(f"'{decoder}' is not available here .*available: h264, ")


def test_named_decoder_that_is_there(clip: Path, tmp_path: Path) -> None:
    restore_video(COPY, clip, tmp_path / "out.mp4", VideoOptions(decoder="h264"))
    assert contents(tmp_path / "out.mp4").times == contents(clip).times


@pytest.mark.parametrize("codec", ["h264_nvenc", "h264_qsv"])
def test_encoder_without_its_device(codec: str, clip: Path, tmp_path: Path) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build has no {codec}")
    try:
        caught = refuse(clip, tmp_path / "out.mp4", codec=codec)
    except pytest.fail.Exception:
        pytest.skip(f"{codec} works here")
    assert caught.type is DeviceUnavailableError
    assert caught.match(f"'{codec}' is not available here .* name another codec")


def test_sound_that_the_container_cannot_hold(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mkv", Recipe(audio="aac"))
    caught = refuse(source, tmp_path / "out.webm")
    assert caught.type is VideoWriteError
    assert caught.match("webm cannot hold aac audio; end the target in .mkv")


def test_a_picture_that_cannot_be_restored(clip: Path, tmp_path: Path) -> None:
    seen = []

    def fail(batch: np.ndarray) -> np.ndarray:
        seen.append(1)
        if len(seen) == 5:
            raise ZeroDivisionError("five")
        return batch

    with pytest.raises(StreamError, match="frame 4 could not be restored: ZeroDivisionError: five"):
        restore_video(Restorer(FunctionBackend(SPEC, fail)), clip, tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4"]


@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota"), (errno.EACCES, "permission denied"), (errno.EIO, "check the")],
)
def test_words_for_what_the_system_says(code: int, said: str) -> None:
    error = write_error("out.mp4", OSError(code, "as the system says it"))
    assert isinstance(error, ImageWriteError)
    assert said in str(error)


def test_full_disk_while_a_part_is_written(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(packet: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(video_parts, "_packed", full)
    assert refuse(clip, tmp_path / "out.mp4").match("the disk is full; free some space and run it again with resume")


def test_limit_of_the_system_while_the_file_is_written(tmp_path: Path) -> None:
    """A real failure of write(2) in the muxer: the parts fit below the limit, the whole file with its sound does not."""
    source = make(tmp_path / "clip.mkv", Recipe(times=LONG.times, audio="pcm_s16le"))
    program = (
        "import resource, signal, sys, numpy as np\n"
        "from restore_sdk import *\n"
        "from restore_sdk.stream.video import restore_video\n"
        "spec = ModelSpec(name='copy', method='none', task='denoise', receptive_radius=0)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "restore_video(Restorer(FunctionBackend(spec, np.copy)), sys.argv[1], sys.argv[2])\n"
    )
    assert hasattr(resource, "RLIMIT_FSIZE")
    assert hasattr(signal, "SIGXFSZ")
    done = subprocess.run(
        [sys.executable, "-c", program, str(source), str(tmp_path / "out.mkv")], capture_output=True, text=True, check=False
    )
    assert "VideoWriteError" in done.stderr, done.stderr
    assert "larger than the system allows" in done.stderr
    assert not (tmp_path / "out.mkv").exists()
    assert (tmp_path / ".out.mkv.parts" / "part-00000").is_file()
    assert not (tmp_path / ".out.mkv.parts" / "whole.mkv").exists()
