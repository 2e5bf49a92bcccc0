"""What a video has before it is restored it has afterwards: times, sound, words, chapters, tags, colour, bits, size."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="needs the extra [video]")

from video_clips import Contents, Recipe, contents, difference, make, read_pixels

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec
from restore_sdk.stream.reuse import ReusedTiles
from restore_sdk.stream.video import Progress, VideoReport, restore_video
from restore_sdk.stream.video_options import VideoOptions

SPEC = ModelSpec(name="copy", method="none", task="denoise", receptive_radius=0)
COPY = Restorer(FunctionBackend(SPEC, np.copy))
REAL = Path(__file__).parents[4] / "shared" / "data" / "video"
VFR = (0, 512, 700, 2000, 2100, 5000, 5001, 9000, 12000)
HDR = Recipe(
    codec="libx265",
    format="yuv420p10le",
    times=(0, 40, 81, 150, 160, 300, 301, 420, 480),
    time_base=Fraction(1, 1000),
    colour=(1, 9, 16, 9),  # limited, BT.2020, PQ, BT.2020
    audio="aac",
    subtitles="subrip",
    chapters=True,
    options={"x265-params": "log-level=error"},
)
Copied = Callable[..., tuple[Contents, Contents, VideoReport]]


@pytest.fixture
def copied(tmp_path: Path) -> Copied:
    """copied(recipe, "mp4", "mkv", start=...): what the source holds, what the target holds, and the report."""

    def run(recipe: Recipe, suffix: str, other: str | None = None, **options: Any) -> tuple[Contents, Contents, VideoReport]:
        source, target = make(tmp_path / f"source.{suffix}", recipe), tmp_path / f"target.{other or suffix}"
        report = restore_video(COPY, source, target, VideoOptions(**options))
        assert sorted(path.name for path in tmp_path.iterdir()) == [source.name, target.name]
        return contents(source), contents(target), report

    return run


def assert_same(before: Contents, after: Contents) -> None:
    assert after.times == before.times
    assert after.copied == before.copied
    assert (after.format, after.size, after.colour, after.codec) == (before.format, before.size, before.colour, before.codec)
    assert after.chapters == before.chapters
    assert after.languages == before.languages


def test_constant_rate_with_sound_chapters_and_tags(copied: Copied) -> None:
    before, after, report = copied(Recipe(audio="aac", chapters=True, tags={"title": "A title", "comment": "c"}), "mp4")
    assert_same(before, after)
    assert len(before.copied["audio"]) > 15
    assert [title for *_, title in after.chapters] == ["first", "second"]
    assert (after.tags["title"], after.tags["comment"]) == ("A title", "c")
    assert after.last_duration == Fraction(1, 25)
    assert (report.frames, report.resumed, report.codec, report.format) == (12, 0, "libx264", "yuv420p")
    assert report.notices == ()


def test_variable_rate(copied: Copied) -> None:
    before, after, _ = copied(Recipe(times=VFR), "mp4")
    assert before.times == [Fraction(at, 12800) for at in VFR]
    assert_same(before, after)


def test_ten_bits_with_pq_sound_and_subtitles(copied: Copied) -> None:
    before, after, report = copied(HDR, "mkv")
    assert before.times == [Fraction(at, 1000) for at in HDR.times]
    assert set(before.copied) == {"audio", "subtitle"}
    assert_same(before, after)
    assert (after.format, after.colour, after.codec) == ("yuv420p10le", (1, 9, 16, 9), "hevc")
    assert report.notices == ()


def test_sound_that_begins_late_stays_late(copied: Copied) -> None:
    before, after, _ = copied(Recipe(audio="aac", audio_from=12000), "mp4")
    assert before.copied["audio"][0][0] > Fraction(1, 5)
    assert_same(before, after)


FORMS = [
    ("mkv", Recipe(codec="ffv1", width=63, height=47)),
    ("mkv", Recipe(codec="ffv1", format="yuv444p10le", width=63, height=47)),
    ("mkv", Recipe(codec="ffv1", format="gbrp10le", colour=(2, 0, 1, 1))),
    ("webm", Recipe(codec="libvpx-vp9", width=63, height=47)),
    ("mov", Recipe(codec="prores_ks", format="yuv422p10le")),
    ("mkv", Recipe(codec="libsvtav1", format="yuv420p10le")),
    ("mp4", Recipe(format="yuv422p")),
    ("mp4", Recipe(colour=(2, 6, 6, 6))),  # full range, BT.601
    ("mp4", Recipe(aspect=Fraction(16, 15))),
    ("mp4", Recipe(times=(0, 512))),
    ("webm", Recipe(codec="libvpx", time_base=Fraction(1, 1000), times=tuple(range(0, 480, 40)))),
    ("mp4", Recipe(times=(512 * 5, 512 * 6, 512 * 9))),
    ("ts", Recipe(times=tuple(range(0, 12 * 3600, 3600)), time_base=Fraction(1, 90000))),
]


@pytest.mark.parametrize(("suffix", "recipe"), FORMS, ids=range(len(FORMS)))
def test_forms_that_are_kept(suffix: str, recipe: Recipe, copied: Copied, tmp_path: Path) -> None:
    before, after, _ = copied(recipe, suffix)
    if suffix == "mov":
        before.colour = (after.colour[0], *before.colour[1:])  # ProRes says nothing of its range, which is always limited
    assert_same(before, after)
    assert before.aspect == after.aspect
    assert difference(read_pixels(tmp_path / f"source.{suffix}"), read_pixels(tmp_path / f"target.{suffix}")) < 0.01


def test_gray(copied: Copied, tmp_path: Path) -> None:
    before, after, _ = copied(Recipe(format="gray", colour=(2, 2, 2, 2)), "mp4")
    assert_same(before, after)


def test_lossless_ten_bits_come_back_to_the_last_bit(copied: Copied, tmp_path: Path) -> None:
    """Through float RGB and back: what an 8-bit step anywhere would not do."""
    copied(Recipe(codec="ffv1", format="yuv444p10le"), "mkv")
    before, after = (read_pixels(tmp_path / f"{name}.mkv") for name in ("source", "target"))
    np.testing.assert_array_equal(after, before)
    assert len(np.unique(np.round(before * 1023))) > 400  # of the 1024 that 10 bits have, 256 at most after an 8-bit step


def test_odd_size_where_the_encoder_cannot_halve_it(copied: Copied) -> None:
    before, after, report = copied(Recipe(codec="ffv1", width=63, height=47), "mkv", "mp4", codec="libx264")
    assert (before.size, after.size, after.format) == ((63, 47), (63, 47), "yuv444p")
    assert after.times == before.times
    assert report.notices == ("libx264 takes odd sizes only with full chroma, so the result is yuv444p",)


def test_alpha_is_ignored_with_a_notice(copied: Copied) -> None:
    before, after, report = copied(Recipe(codec="ffv1", format="yuva420p"), "mkv")
    assert (before.format, after.format) == ("yuva420p", "yuv420p")
    assert report.notices == ("its alpha channel is ignored",)


@pytest.mark.parametrize(
    ("matrix", "upright", "said"),
    [
        ([0, 1, -1, 0], lambda images: np.rot90(images, -1, (1, 2)), "it is turned by 270 degrees, a tag"),
        ([-1, 0, 0, 1], lambda images: images[:, :, ::-1], "it is mirrored, a tag"),
        ([0, -1, -1, 0], lambda images: np.rot90(images[:, :, ::-1], -1, (1, 2)), "it is mirrored and turned by 270 degrees"),
        ([0.8, 0.6, -0.6, 0.8], lambda images: images, "its pixels stay as they lie, and the tag is left out"),
    ],
    ids=["turned", "mirrored", "both", "askew"],
)
def test_a_placed_video_stands_upright(matrix: list[float], upright: Any, said: str, tmp_path: Path) -> None:
    source, target = make(tmp_path / "source.mp4", Recipe()), tmp_path / "target.mp4"
    unturned = read_pixels(source)
    content = bytearray(source.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # after version and flags, times, track, layer, volume
    right, down, across, below = (round(part * (1 << 16)) for part in matrix)
    placed = [right, down, 0, across, below, 0, 0, 0, 1 << 30]
    content[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in placed)
    source.write_bytes(content)
    report = restore_video(COPY, source, target)
    assert contents(target).size == (report.width, report.height)
    assert [said in notice for notice in report.notices] == [True]
    assert difference(upright(unturned), read_pixels(target)) < 0.01


def test_a_model_that_enlarges(tmp_path: Path) -> None:
    spec = ModelSpec(name="twice", method="none", task="super_resolve", scale=2, receptive_radius=0)
    twice = Restorer(FunctionBackend(spec, lambda batch: batch.repeat(2, 2).repeat(2, 3)))
    report = restore_video(twice, make(tmp_path / "a.mp4"), tmp_path / "b.mp4")
    assert (report.width, report.height) == (128, 96)
    assert contents(tmp_path / "b.mp4").size == (128, 96)


def test_a_cut_shifts_everything_alike(copied: Copied) -> None:
    recipe = Recipe(times=tuple(range(0, 50 * 512, 512)), audio="aac", chapters=True)
    before, after, report = copied(recipe, "mp4", start=0.3, end=1.2)
    begin = Fraction(3, 10)
    assert after.times == [at - begin for at in before.times if begin <= at < Fraction(12, 10)]
    kept = [(at, digest) for at, digest in before.copied["audio"] if begin <= at < Fraction(12, 10)]
    assert [digest for _, digest in after.copied["audio"]] == [digest for _, digest in kept]
    shifts = {before_at - after_at for (before_at, _), (after_at, _) in zip(kept, after.copied["audio"], strict=True)}
    assert shifts == {begin}
    assert after.chapters == [(Fraction(0), Fraction(18, 100), "second")]
    assert report.frames == 22


def test_a_cut_of_a_long_way_in_seeks_to_the_right_picture(copied: Copied, tmp_path: Path) -> None:
    recipe = Recipe(times=tuple(range(0, 60 * 512, 512)), options={"bf": "3", "g": "12"})
    before, after, _ = copied(recipe, "mp4", start=1.52)
    assert after.times == [at - Fraction(152, 100) for at in before.times[38:]]
    assert difference(read_pixels(tmp_path / "source.mp4")[38:], read_pixels(tmp_path / "target.mp4")) < 0.01


def test_subtitles_that_mp4_cannot_hold_are_reported(copied: Copied) -> None:
    before, after, report = copied(HDR, "mkv", "mp4")
    assert after.times == before.times
    assert "subtitle" not in after.copied
    assert [digest for _, digest in after.copied["audio"]] == [digest for _, digest in before.copied["audio"]]
    assert report.notices == ("subtitle stream 2 (subrip) is not taken over: mp4 cannot hold it",)


def test_named_codec_and_quality(copied: Copied, tmp_path: Path) -> None:
    _, _, fine = copied(Recipe(), "mp4", codec="libx265", crf=10)
    size = (tmp_path / "target.mp4").stat().st_size
    assert contents(tmp_path / "target.mp4").codec == "hevc"
    assert fine.codec == "libx265"
    (tmp_path / "target.mp4").unlink()
    copied(Recipe(), "mp4", codec="libx265", crf=45)
    assert (tmp_path / "target.mp4").stat().st_size < size


def test_motion_jpeg_is_full_range_and_bt_601(copied: Copied, tmp_path: Path) -> None:
    before, after, _ = copied(Recipe(), "mkv", codec="mjpeg")
    assert (before.colour[:2], after.colour[:2]) == ((1, 1), (2, 5))
    assert difference(read_pixels(tmp_path / "source.mkv"), read_pixels(tmp_path / "target.mkv")) < 0.02  # 0.034 by BT.709


def test_reuse_gives_the_same_pictures(tmp_path: Path) -> None:
    source = make(tmp_path / "source.mkv", Recipe(codec="ffv1", still=True))
    tiles = ReusedTiles(FunctionBackend(SPEC, np.copy))
    report = restore_video(Restorer(tiles, tile=16), source, tmp_path / "a.mkv", reuse=tiles)
    restore_video(COPY, source, tmp_path / "b.mkv")
    assert report.reused == pytest.approx(11 / 12)
    assert contents(tmp_path / "a.mkv").packets == contents(tmp_path / "b.mkv").packets


@pytest.mark.parametrize("apart", [512, 1536])
def test_progress_counts_up(apart: int, tmp_path: Path) -> None:
    """At 25 pictures a second, and where every third is there."""
    seen: list[Progress] = []
    clip = make(tmp_path / "a.mp4", Recipe(times=range(0, 12 * apart, apart)))
    restore_video(COPY, clip, tmp_path / "b.mp4", on_progress=seen.append)
    assert [progress.done for progress in seen] == list(range(1, 13))
    assert {progress.total for progress in seen} == {12}
    assert all(progress.fps > 0 for progress in seen)
    assert seen[-1].eta == 0
    assert Progress(10, 30, 5.0).eta == 4.0
    assert Progress(10, None, 5.0).eta is None


@pytest.mark.parametrize("clip", ["bikes", "bigbuckbunny", "car-detection"])
def test_real_clips(clip: str, tmp_path: Path) -> None:
    source = REAL / f"{clip}.mp4"
    if not source.is_file():
        pytest.skip(f"{clip}.mp4 is not in the shared data")
    restore_video(COPY, source, tmp_path / "out.mp4", VideoOptions(end=1.0))
    before, after = contents(source), contents(tmp_path / "out.mp4")
    assert after.times == [at for at in before.times if at < 1]
    assert after.copied == {kind: [(at, digest) for at, digest in packets if at < 1] for kind, packets in before.copied.items()}
    assert (after.format, after.colour, after.size) == (before.format, before.colour, before.size)
    assert difference(read_pixels(source, 5), read_pixels(tmp_path / "out.mp4", 5)) < 0.01
