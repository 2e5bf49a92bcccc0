"""What a container can and cannot hold: times, covers, the shape of pixels; what it cannot is said."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="needs the extra [video]")

import av
from video_clips import Recipe, contents, make

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec
from restore_sdk.stream.video import restore_video
from restore_sdk.stream.video_options import Cut, VideoOptions
from restore_sdk.stream.video_source import VideoSource
from restore_sdk.stream.video_watch import Watch

COPY = Restorer(FunctionBackend(ModelSpec(name="copy", method="none", task="denoise", receptive_radius=0), np.copy))
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")
UNEVEN = (0, 512, 2048, 2560, 5120, 5632)  # of 512 each at 25 pictures a second


def times(path: Path) -> list[Fraction]:
    """Of the pictures, seconds, as FFmpeg's own program reads them."""
    with VideoSource(path) as source:
        return [picture.pts * source.facts.time_base for picture in source.pictures()]


@pytest.mark.parametrize("suffix", ["avi", "wmv"])
@pytest.mark.parametrize("shown", [Recipe().times, UNEVEN], ids=["even", "uneven"])
def test_containers_of_decoding_times_alone_keep_times_and_sound_together(suffix: str, shown: Any, tmp_path: Path) -> None:
    source, target = make(tmp_path / "in.mkv", Recipe(times=shown, audio="pcm_s16le")), tmp_path / f"out.{suffix}"
    report = restore_video(COPY, source, target)
    assert times(target) == times(source)
    with av.open(str(target)) as file:
        first = next(packet for packet in file.demux(audio=0) if packet.size)
        assert first.pts * first.time_base == contents(source).copied["audio"][0][0]
    assert report.notices == ()


@pytest.mark.parametrize("start", [None, 0.32])
def test_reordered_pictures_in_avi_are_read_in_order(start: float | None, tmp_path: Path) -> None:
    source = make(tmp_path / "in.avi", Recipe(times=range(20), time_base=Fraction(1, 25), options={"bf": "2", "g": "12"}))
    restore_video(COPY, source, tmp_path / "out.mkv", VideoOptions(start=start))
    begin = Fraction(str(start or 0))
    assert times(tmp_path / "out.mkv") == [at - begin for at in times(source) if at >= begin]
    assert np.diff(times(source)).tolist() == [Fraction(1, 25)] * 19


def test_a_cover_in_matroska_stays_a_cover(tmp_path: Path) -> None:
    clip, source = make(tmp_path / "clip.mkv"), tmp_path / "in.mkv"
    with av.open(str(clip)) as given, av.open(str(source), "w") as covered:
        pictures = given.streams.video[0]
        copy = covered.add_stream_from_template(pictures)
        covered.add_attachment("cover.jpg", "image/jpeg", JPEG)
        covered.start_encoding()
        for packet in given.demux(pictures):
            if packet.size:
                packet.stream = copy
                covered.mux(packet)
    restore_video(COPY, source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as file:
        cover = next(stream for stream in file.streams if stream.metadata.get("filename") == "cover.jpg")
        assert cover.metadata["mimetype"] == "image/jpeg"
        assert cover.disposition & av.stream.Disposition.attached_pic
        assert [bytes(packet) for packet in file.demux(cover) if packet.size] == [JPEG]


@pytest.mark.parametrize(
    ("recipe", "suffix", "notice"),
    [
        (Recipe(audio="aac"), "avi", "moves pictures by up to 0.040 s against one another"),  # its sound begins before zero
        (Recipe(aspect=Fraction(4, 3)), "mkv", "ffv1 in matroska,webm does not say that its pixels are 4:3"),
        (Recipe(times=range(0, 12 * 3600, 3600), time_base=Fraction(1, 90000)), "ts", "everything in it comes 0.080 s later"),
        (Recipe(times=range(25600, 32000, 512)), "avi", "the first picture, which comes 2.000 s too early"),
        (Recipe(picture_tags={"alpha_mode": "1"}), "mkv", "its alpha channel is ignored"),
    ],
    ids=["rounded", "shape", "before zero", "late", "alpha"],
)
def test_what_is_lost_is_said(recipe: Recipe, suffix: str, notice: str, tmp_path: Path) -> None:
    source = make(tmp_path / ("in.mp4" if recipe.audio else "in.mkv"), recipe)
    options = VideoOptions(codec="ffv1" if recipe.aspect != 1 else None)
    report = restore_video(COPY, source, tmp_path / f"out.{suffix}", options)
    assert [notice in said for said in report.notices] == [True]
    with av.open(str(tmp_path / f"out.{suffix}")) as file:
        assert "ALPHA_MODE" not in file.streams.video[0].metadata


def facts(**changes: Any) -> Any:
    return SimpleNamespace(**{"path": "a.mkv", "width": 4, "height": 4, "rotation": 0, "rate": Fraction(25), **changes})


@pytest.mark.parametrize(("first", "begin", "shift"), [(0, Fraction(-2), 0), (-10, Fraction(-2), -50), (-60, Fraction(-2), -60)])
def test_pictures_before_zero_are_moved_with_everything_else(first: int, begin: Fraction, shift: int) -> None:
    whole = facts(first=first, begin=begin, time_base=Fraction(1, 25))
    assert Cut.of(whole, VideoOptions()).shift == shift
    assert Cut.of(whole, VideoOptions(start=1.0)).shift == -25


@pytest.mark.parametrize(("promised", "missing"), [(1.0, 0.0), (1.12, 0.0), (1.4, 0.4)])
def test_a_little_that_is_missing_at_the_end_is_told(promised: float, missing: float) -> None:
    watch = Watch(facts(begin=Fraction(0), end=Fraction(str(promised)), time_base=Fraction(1, 25)))
    for pts in range(25):
        watch.check(SimpleNamespace(pts=pts, width=4, height=4, duration=1))
    assert watch.check_end(None) == pytest.approx(missing)
