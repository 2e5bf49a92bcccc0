"""Parts on disk, and the decoding times that packets get when the parts are put together."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_sdk.errors import OptionsError
from restore_sdk.stream import video_parts
from restore_sdk.stream.errors import VideoWriteError
from restore_sdk.stream.video_parts import EncodedPacket, PartFolder, decoding_times, read_packets

JOB = {"source": "a.mp4", "start": None, "size": [4, 4]}
PACKETS = [EncodedPacket(0, 2, True, b"key"), EncodedPacket(-7, 3, False, b""), EncodedPacket(1 << 40, 1, False, b"x" * 1000)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PartFolder:
    monkeypatch.setattr(video_parts, "PART_FRAMES", 3)
    return PartFolder(tmp_path / "out.mp4")


def test_what_is_written_is_read(folder: PartFolder) -> None:
    assert folder.begin(JOB, resume=False) == []
    part = folder.write(0, PACKETS, b"extra")
    assert (part.frames, part.last_pts, part.extradata) == (3, 1 << 40, b"extra")
    assert list(read_packets(part)) == PACKETS
    assert folder.begin(JOB, resume=True) == [part]


def test_without_resume_nothing_is_kept(folder: PartFolder) -> None:
    folder.begin(JOB, resume=False)
    folder.write(0, PACKETS, b"")
    assert folder.begin(JOB, resume=False) == []
    assert [path.name for path in folder.folder.iterdir()] == ["job.json"]
    folder.remove()
    assert not folder.folder.exists()


def test_resume_of_nothing_begins_anew(folder: PartFolder) -> None:
    assert folder.begin(JOB, resume=True) == []
    assert folder.folder.is_dir()


def test_another_job_is_refused_by_name_of_what_changed(folder: PartFolder) -> None:
    folder.begin(JOB, resume=False)
    folder.write(0, PACKETS, b"")
    with pytest.raises(OptionsError, match=r"start None -> 1\.5.*give those, or start anew"):
        folder.begin({**JOB, "start": 1.5}, resume=True)


def test_another_job_begins_anew_where_nothing_is_lost(folder: PartFolder) -> None:
    folder.begin(JOB, resume=False)
    folder.write(0, PACKETS[:2], b"")  # not full
    assert folder.begin({**JOB, "start": 1.5}, resume=True) == []
    assert json.loads((folder.folder / "job.json").read_text())["start"] == 1.5


def test_what_is_kept_is_counted(folder: PartFolder) -> None:
    assert folder.kept == 0
    folder.begin(JOB, resume=False)
    for number, packets in enumerate((PACKETS, PACKETS, PACKETS[:1])):
        folder.write(number, packets, b"")
    assert folder.kept == 6


@pytest.mark.parametrize("damage", ["short", "flipped", "headless", "missing"])
def test_parts_after_a_damaged_one_are_made_again(damage: str, folder: PartFolder) -> None:
    folder.begin(JOB, resume=False)
    parts = [folder.write(number, PACKETS, b"") for number in range(3)]
    content = parts[1].path.read_bytes()
    damaged = {"short": content[:-5], "flipped": content[:-1] + b"?", "headless": b"{}\n" + content}
    if damage == "missing":
        parts[1].path.unlink()
    else:
        parts[1].path.write_bytes(damaged[damage])
    assert folder.begin(JOB, resume=True) == parts[:1]
    assert sorted(path.name for path in folder.folder.iterdir()) == ["job.json", "part-00000"]


def test_a_part_that_is_not_full_is_made_again(folder: PartFolder) -> None:
    folder.begin(JOB, resume=False)
    full = folder.write(0, PACKETS, b"")
    folder.write(1, PACKETS[:2], b"")
    assert folder.begin(JOB, resume=True) == [full]


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(VideoWriteError):
        PartFolder(tmp_path / "none" / "out.mp4").begin(JOB, resume=False)


@pytest.mark.parametrize(
    ("shown", "decoded"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3]),
        ([0, 4, 2, 1, 3], [-2, -1, 0, 1, 2]),  # 0 then a pyramid of B: two must be decoded before their turn
        ([0, 30, 10, 40, 35], [-10, 0, 10, 30, 35]),  # uneven times
        ([5], [5]),
        ([0, 2, 1, 10, 14, 12], [-1, 0, 1, 2, 10, 12]),  # two parts, the second slower
    ],
)
def test_decoding_times_by_hand(shown: list[int], decoded: list[int]) -> None:
    assert decoding_times(shown) == decoded


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=40).map(lambda gaps: [sum(gaps[:end]) for end in range(len(gaps))]),
    st.randoms(use_true_random=False),
    st.integers(1, 6),
)
def test_decoding_times_increase_and_come_before_the_picture(times: list[int], random, group: int) -> None:  # type: ignore[no-untyped-def]
    shown: list[int] = []
    for start in range(0, len(times), group):
        few = times[start : start + group]
        shown += [few[0], *random.sample(few[1:], len(few) - 1)]
    decoded = decoding_times(shown)
    assert all(earlier < later for earlier, later in pairwise(decoded))
    assert all(dts <= pts for dts, pts in zip(decoded, shown, strict=True))
