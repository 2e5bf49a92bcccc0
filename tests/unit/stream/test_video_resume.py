"""Interrupted work goes on, and what comes of it is what one run would have made."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="needs the extra [video]")

from video_clips import Recipe, contents, make

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.errors import OptionsError
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec
from restore_sdk.stream import video_codecs, video_parts, video_writing
from restore_sdk.stream.errors import StreamError
from restore_sdk.stream.video import Progress, restore_video
from restore_sdk.stream.video_options import VideoOptions

SPEC = ModelSpec(name="copy", method="none", task="denoise", receptive_radius=0)
RESUME = VideoOptions(resume=True)
UNEVEN = tuple(512 * number + 37 * (number % 5) for number in range(60))
B_FRAMES = Recipe(times=UNEVEN, audio="aac", options={"bf": "3", "g": "25", "b_strategy": "0"})


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (video_parts, video_writing):
        monkeypatch.setattr(module, "PART_FRAMES", 8)


@pytest.fixture(autouse=True)
def repeatable_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Macroblock trees of libx264 read memory that nothing wrote: in one run of 200 with other contents, pictures of 64x48 have
    other bytes."""
    usual = video_codecs.QUALITY["libx264"]
    fixed = replace(usual, beside={**usual.beside, "mbtree": "0"})
    monkeypatch.setattr(video_codecs, "QUALITY", {**video_codecs.QUALITY, "libx264": fixed})


class Power:
    """A model that counts what it restored and dies after so many pictures."""

    def __init__(self, most: int = 1000) -> None:
        self.done, self.most = 0, most
        self.restorer = Restorer(FunctionBackend(SPEC, self._run))

    def _run(self, batch: np.ndarray) -> np.ndarray:
        if self.done == self.most:
            raise RuntimeError("power cut")
        self.done += 1
        return np.asarray(1 - batch, np.float32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("clips") / "clip.mp4", B_FRAMES)


@pytest.fixture
def uninterrupted(clip: Path, tmp_path: Path) -> Path:
    restore_video(Power().restorer, clip, tmp_path / "whole.mp4")
    return tmp_path / "whole.mp4"


@pytest.mark.parametrize("dies_after", [0, 7, 9, 31, 59])
def test_interrupted_work_ends_as_one_run_would(dies_after: int, clip: Path, uninterrupted: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with pytest.raises(StreamError, match="power cut"):
        restore_video(Power(dies_after).restorer, clip, target)
    assert not target.exists()
    again = Power()
    report = restore_video(again.restorer, clip, target, RESUME)
    assert report.frames == 60
    assert report.resumed % 8 == 0
    assert report.resumed <= dies_after < report.resumed + 8 + 8  # the part in hand, and at most one that was not yet handed out
    assert again.done == 60 - report.resumed
    after, whole = contents(target), contents(uninterrupted)
    assert after.packets == whole.packets
    assert (after.times, after.copied) == (whole.times, whole.copied)
    assert after.times == contents(clip).times
    assert not (tmp_path / ".out.mp4.parts").exists()


def test_every_part_begins_with_a_keyframe(uninterrupted: Path) -> None:
    found = contents(uninterrupted)
    assert set(found.times[::8]) <= set(found.keyframes)


def test_interrupted_by_the_user(clip: Path, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_video(Power().restorer, clip, tmp_path / "out.mp4", on_progress=interrupt)
    seen: list[Progress] = []
    assert restore_video(Power().restorer, clip, tmp_path / "out.mp4", RESUME, on_progress=seen.append).resumed == 16
    assert (seen[0].done, seen[0].total) == (17, 60)


def test_interrupted_twice_and_with_a_cut(clip: Path, tmp_path: Path) -> None:
    cut, target = {"start": 0.3, "end": 2.0}, tmp_path / "out.mp4"
    for _ in range(2):
        with pytest.raises(StreamError):
            restore_video(Power(18).restorer, clip, target, VideoOptions(resume=True, **cut))  # type: ignore[arg-type]
    assert restore_video(Power().restorer, clip, target, VideoOptions(resume=True, **cut)).resumed >= 24  # type: ignore[arg-type]
    restore_video(Power().restorer, clip, tmp_path / "whole.mp4", VideoOptions(**cut))  # type: ignore[arg-type]
    assert contents(target).packets == contents(tmp_path / "whole.mp4").packets


def test_interrupted_while_the_file_was_put_together(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(video_writing.Container, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            restore_video(Power().restorer, clip, tmp_path / "out.mp4")
    again = Power()
    assert restore_video(again.restorer, clip, tmp_path / "out.mp4", RESUME).resumed == 56
    assert again.done == 4


def test_an_end_before_what_is_kept(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(StreamError):
        restore_video(Power(30).restorer, clip, tmp_path / "out.mp4")
    cut = {"end": 0.5}
    report = restore_video(Power().restorer, clip, tmp_path / "out.mp4", VideoOptions(resume=True, **cut))  # type: ignore[arg-type]
    restore_video(Power().restorer, clip, tmp_path / "whole.mp4", VideoOptions(**cut))  # type: ignore[arg-type]
    assert report.resumed % 8 == 0
    assert report.resumed < report.frames
    assert contents(tmp_path / "out.mp4").packets == contents(tmp_path / "whole.mp4").packets


def test_other_settings_are_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(StreamError):
        restore_video(Power(20).restorer, clip, tmp_path / "out.mp4")
    with pytest.raises(OptionsError, match=r"resume=True, expected the settings that the work was started with .*encoder"):
        restore_video(Power().restorer, clip, tmp_path / "out.mp4", VideoOptions(resume=True, crf=40))
    assert restore_video(Power().restorer, clip, tmp_path / "out.mp4").resumed == 0


def test_a_source_that_cannot_seek_is_read_from_its_beginning(tmp_path: Path) -> None:
    source = make(tmp_path / "clip.m2v", Recipe(codec="mpeg2video", times=tuple(range(30)), time_base=Fraction(1, 25)))
    with pytest.raises(StreamError):
        restore_video(Power(20).restorer, source, tmp_path / "out.mkv")
    assert restore_video(Power().restorer, source, tmp_path / "out.mkv", RESUME).resumed >= 8
    restore_video(Power().restorer, source, tmp_path / "whole.mkv")
    assert contents(tmp_path / "out.mkv").packets == contents(tmp_path / "whole.mkv").packets


def test_pipes_cannot_be_resumed(clip: Path) -> None:
    with pytest.raises(OptionsError, match="files on both sides"):
        restore_video(Power().restorer, clip, "-", RESUME)
