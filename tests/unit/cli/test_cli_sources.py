from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from restore_sdk.cli.exit_codes import UsageError
from restore_sdk.cli.sources import Work, plan_work

SUFFIXES = frozenset({".png", ".jpg"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with photos/ in it."""
    for name in ("a.png", "B.JPG", "notes.txt", ".hidden.png", ".cache/c.png", "trip/a.png", "trip/deep/d.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(*patterns: str, out: str, overwrite: bool = False) -> Work:
    return plan_work(patterns, out, readable=SUFFIXES | {".gif"}, writable=SUFFIXES, overwrite=overwrite)


def pairs(work: Work) -> list[tuple[str, str]]:
    return [(job.source.as_posix(), job.target.as_posix()) for job in work.jobs]


def test_one_file_into_a_file(folder: Path) -> None:
    work = plan("photos/a.png", out="new/b.jpg")
    assert pairs(work) == [("photos/a.png", "new/b.jpg")]


@pytest.mark.parametrize("out", ["out/", "photos/trip/deep"], ids=["slash", "is a folder"])
def test_one_file_into_a_folder(folder: Path, out: str) -> None:
    work = plan("photos/a.png", out=out)
    assert pairs(work) == [("photos/a.png", f"{out.rstrip('/')}/a.png")]


@pytest.mark.parametrize("out", ["out", "out.gif", "out.txt"])
def test_one_file_into_a_name_without_a_written_suffix_is_refused(folder: Path, out: str) -> None:
    with pytest.raises(UsageError, match="no suffix of an image that can be written"):
        plan("photos/a.png", out=out)


def test_a_folder_is_walked_and_its_tree_kept(folder: Path) -> None:
    work = plan("photos", out="out")
    assert pairs(work) == [
        ("photos/B.JPG", "out/B.JPG"),
        ("photos/a.png", "out/a.png"),
        ("photos/trip/a.png", "out/trip/a.png"),
        ("photos/trip/deep/d.jpg", "out/trip/deep/d.jpg"),
    ]


def test_results_inside_the_folder_are_no_inputs(folder: Path) -> None:
    for name in ("a.png", "trip/a.png"):
        (folder / "photos" / "trip" / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "photos" / "trip" / "out" / name).touch()
    sources = [source for source, _ in pairs(plan("photos", out="photos/trip/out"))]
    assert sources == ["photos/B.JPG", "photos/a.png", "photos/trip/a.png", "photos/trip/deep/d.jpg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*", ["out/B.JPG", "out/a.png"]),
        ("photos/*.png", ["out/a.png"]),
        ("photos/**/*.png", ["out/a.png", "out/trip/a.png"]),
        ("photos/t*/a.png", ["out/trip/a.png"]),
        ("*/trip/**", ["out/photos/trip/a.png", "out/photos/trip/deep/d.jpg"]),
    ],
)
def test_globs_keep_what_lies_below_their_fixed_part(folder: Path, pattern: str, expected: list[str]) -> None:
    assert [target for _, target in pairs(plan(pattern, out="out"))] == expected


def test_a_glob_with_one_match_may_name_the_file(folder: Path) -> None:
    assert pairs(plan("photos/*.png", out="one.png")) == [("photos/a.png", "one.png")]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder: Path) -> None:
    (folder / "photos" / "x[1].png").touch()
    assert pairs(plan("photos/x[1].png", out="out/")) == [("photos/x[1].png", "out/x[1].png")]


def test_the_same_file_twice_is_one_job(folder: Path) -> None:
    assert len(plan("photos/a.png", "photos/../photos/a.png", "photos", out="out").jobs) == 4


def test_two_files_of_one_name_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"photos/a\.png and photos/trip/a\.png would both become out/a\.png"):
        plan("photos/a.png", "photos/trip/a.png", out="out", overwrite=True)


@pytest.mark.parametrize("patterns", [("photos/a.png", "photos/B.JPG"), ("photos",)], ids=["files", "folder"])
@pytest.mark.parametrize("out", ["new.png", "photos/notes.txt"])
def test_several_files_into_a_file_are_refused(folder: Path, patterns: tuple[str, ...], out: str) -> None:
    with pytest.raises(UsageError, match="is a file"):
        plan(*patterns, out=out)


def test_the_source_itself_needs_overwrite(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"photos/a\.png would be replaced by its own result; pass --overwrite"):
        plan("photos/a.png", out="photos/a.png")
    with pytest.raises(UsageError, match="--overwrite"):
        plan("photos", out="photos")
    assert pairs(plan("photos/a.png", out="photos/a.png", overwrite=True)) == [("photos/a.png", "photos/a.png")]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_a_link_to_the_source_is_the_source(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder / "photos" / "a.png")
    with pytest.raises(UsageError, match="its own result"):
        plan("photos/a.png", out="link.png")


def test_a_target_that_is_another_input_is_refused_even_with_overwrite(folder: Path) -> None:
    with pytest.raises(UsageError, match="is itself an input"):
        plan("photos/a.png", "photos/trip", out="photos/trip/deep/..", overwrite=True)


def test_an_existing_file_named_as_target_needs_overwrite(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"exists; pass --overwrite"):
        plan("photos/a.png", out="photos/trip/a.png")
    assert plan("photos/a.png", out="photos/trip/a.png", overwrite=True).jobs[0].exists


def test_existing_targets_in_a_folder_are_marked(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "a.png").touch()
    assert [job.exists for job in plan("photos/*", out="out").jobs] == [False, True]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [("gone.png", "no such file or folder"), ("photos/*.webp", "no image matches"), ("empty", "no file with")],
)
def test_what_is_not_there_is_told_apart(folder: Path, pattern: str, reason: str) -> None:
    (folder / "empty").mkdir()
    work = plan(pattern, "photos/a.png", out="out")
    assert len(work.jobs) == 1
    assert reason in work.missing[0].reason
    assert plan(pattern, out="out.png").jobs == ()


@pytest.mark.parametrize(("pattern", "out"), [("", "out/"), ("photos/a.png", "")])
def test_an_empty_name_is_not_the_current_folder(pattern: str, out: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"empty name.*pass \. for the current folder"):
        plan(pattern, out=out)


@pytest.mark.parametrize("name", ["~nobody-of-that-name/a.png", "n" * 5000])
def test_a_name_that_no_file_can_have_is_missing_and_no_failure_of_ours(name: str, folder: Path) -> None:
    assert [str(error.path) for error in plan(name, out="b.png").missing] == [name]
    assert pairs(plan("photos/a.png", out=f"{name}.png")) == [("photos/a.png", f"{name}.png")]


@pytest.mark.skipif(sys.platform == "win32", reason="links of POSIX")
def test_links_to_nowhere_and_in_circles_exist(folder: Path) -> None:
    Path("broken.png").symlink_to("nowhere.png")
    Path("loop.png").symlink_to("loop.png")
    for name in ("broken.png", "loop.png"):
        assert plan("photos/a.png", out=name, overwrite=True).jobs[0].exists
        with pytest.raises(UsageError, match="pass --overwrite"):
            plan("photos/a.png", out=name)


def test_what_is_left_out_is_counted(folder: Path) -> None:
    (folder / "photos" / "README").touch()
    assert plan("photos", out="out").left_out == {".txt": 1, "no suffix": 1}
    assert plan("photos/*", out="out").left_out == {"no suffix": 1, ".txt": 1}
    assert plan("photos/notes.txt", out="out/").left_out == {}  # named, so tried


def test_a_format_that_cannot_be_written_becomes_png(folder: Path) -> None:
    (folder / "photos" / "trip" / "move.GIF").touch()
    assert ("photos/trip/move.GIF", "out/move.png") in pairs(plan("photos/trip", out="out"))
    (folder / "photos" / "trip" / "move.png").touch()
    with pytest.raises(UsageError, match=r"would both become out/move\.png"):
        plan("photos/trip", out="out")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
@pytest.mark.parametrize("pattern", ["photos", "photos/**/*.png"])
def test_a_pipe_in_a_folder_is_left_out(pattern: str, folder: Path) -> None:
    os.mkfifo(folder / "photos" / "trip" / "b.png")
    work = plan(pattern, out="out")
    assert ("photos/trip/a.png", "out/trip/a.png") in pairs(work)
    assert "out/trip/b.png" not in dict(pairs(work)).values()
    assert work.left_out["not a regular file"] == 1
    assert len(plan("photos/trip/b.png", out="out/").jobs) == 1  # named, so tried
