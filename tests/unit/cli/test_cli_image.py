from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restore_sdk.cli.main import app
from restore_sdk.restorer import Restorer

Restore = Callable[..., Any]
Picture = Callable[..., Path]


def pixels_of(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def statuses(parsed: dict[str, Any]) -> dict[str, str]:
    return {Path(file["source"]).name: file["status"] for file in parsed["files"]}


def test_one_file(restore: Restore, picture: Picture, restorer: Restorer, tmp_path: Path) -> None:
    source = picture()
    result = restore("image", source, "-o", "new/b.png")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"restored  {source} -> new/b.png  20 x 24  ")
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""
    expected = restorer.restore(pixels_of(source))
    assert np.array_equal(pixels_of(tmp_path / "new" / "b.png"), expected)


@pytest.mark.parametrize("tile", ["auto", "exact", "fast", "16"])
def test_every_form_of_tile(restore: Restore, picture: Picture, tile: str, as_json: Callable[..., Any]) -> None:
    result = restore("image", picture(height=40, width=60), "-o", "b.png", "--tile", tile, "--json")
    assert result.exit_code == 0
    file = as_json(result)["files"][0]
    assert (file["width"], file["height"]) == (60, 40)
    assert (file["tiles"] > 1) == (tile == "16")


@pytest.mark.parametrize("tile", ["foo", "10", "-3", "1.5", "9" * 5000])
def test_a_tile_that_is_none_is_told_in_the_words_of_the_flag(restore: Restore, picture: Picture, tile: str) -> None:
    result = restore("image", picture(), "-o", "b.png", "--tile", tile)
    assert result.exit_code == 2
    assert f"--tile '{tile}', expected auto, exact, fast or a number of pixels of at least 16" in result.stderr


def test_folder_keeps_its_tree_and_leaves_other_files(restore: Restore, picture: Picture, tmp_path: Path) -> None:
    for name in ("in/a.png", "in/trip/a.png"):
        picture(name)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    result = restore("image", "in", "-o", "out")
    assert result.exit_code == 0
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")) == [
        "a.png",
        "trip/a.png",
    ]
    assert len(result.stdout.splitlines()) == 2
    assert "restored: 2" in result.stderr


def test_glob(restore: Restore, picture: Picture, tmp_path: Path) -> None:
    for name in ("in/a.png", "in/b.png", "in/deep/c.png", "in/d.jpg"):
        picture(name)
    assert restore("image", "in/**/*.png", "-o", "out").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["a.png", "b.png", "c.png"]


def test_json_is_one_object_with_what_ran(restore: Restore, picture: Picture, as_json: Callable[..., Any]) -> None:
    source = picture()
    parsed = as_json(restore("image", source, "-o", "b.png", "--json"))
    assert parsed["command"] == "image"
    assert parsed["exit_code"] == 0
    assert parsed["counts"] == {"restored": 1}
    assert parsed["runtime"]["backend"] == "onnxruntime"
    file = parsed["files"][0]
    assert (file["source"], file["target"], file["status"], file["error"]) == (str(source), "b.png", "restored", None)
    assert file["seconds"] > 0


def test_metadata_is_kept_or_stripped(restore: Restore, picture: Picture, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    with Image.open(picture()) as plain:
        plain.save(tmp_path / "with.png", exif=exif)
    for choice, maker in (("keep", "Maker"), ("strip", None)):
        assert restore("image", "with.png", "-o", f"{choice}.png", "--metadata", choice).exit_code == 0
        with Image.open(tmp_path / f"{choice}.png") as written:
            assert written.getexif().get(0x010F) == maker


def test_what_the_target_could_not_keep_is_said(
    restore: Restore, picture: Picture, tmp_path: Path, as_json: Callable[..., Any]
) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    with Image.open(picture()) as plain:
        plain.save(tmp_path / "with.png", exif=exif)
    result = restore("image", "with.png", "-o", "b.bmp", "--json")
    assert result.exit_code == 0
    assert result.stderr.startswith("with.png: ")
    assert "EXIF" in result.stderr
    assert len(as_json(result)["files"][0]["notices"]) == 1


def test_existing_target_is_refused_then_replaced(restore: Restore, picture: Picture, tmp_path: Path) -> None:
    source, target = picture(), picture("b.png", seed=5)
    old = target.read_bytes()
    result = restore("image", source, "-o", target)
    assert result.exit_code == 2
    assert "exists; pass --overwrite" in result.stderr
    assert result.stdout == ""
    assert target.read_bytes() == old
    assert restore("image", source, "-o", target, "--overwrite").exit_code == 0
    assert target.read_bytes() != old


def test_existing_targets_in_a_folder_are_skipped(restore: Restore, picture: Picture, as_json: Callable[..., Any]) -> None:
    picture("in/a.png")
    picture("in/b.png")
    old = picture("out/a.png", seed=9).read_bytes()
    result = restore("image", "in", "-o", "out", "--json")
    assert result.exit_code == 0
    assert statuses(as_json(result)) == {"a.png": "skipped", "b.png": "restored"}
    assert "pass --overwrite to replace them" in result.stderr
    assert picture("out/a.png", seed=9).read_bytes() == old


def test_in_place_needs_overwrite(restore: Restore, picture: Picture) -> None:
    source = picture()
    old = source.read_bytes()
    assert restore("image", source, "-o", source).exit_code == 2
    assert source.read_bytes() == old
    assert restore("image", source, "-o", source, "--overwrite").exit_code == 0
    assert source.read_bytes() != old


def test_collisions_are_found_before_any_work(restore: Restore, picture: Picture, tmp_path: Path) -> None:
    result = restore("image", picture("x/a.png"), picture("y/a.png"), "-o", "out")
    assert result.exit_code == 2
    assert "would both become" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("a.png",),
        ("a.png", "-o", "b.png", "--metadata", "some"),
        ("a.png", "-o", "b.png", "--tile", "3"),
        ("a.png", "-o", "b.png", "--tile", "tiny"),
        ("a.png", "-o", "b.png", "--device", "abacus"),
        ("a.png", "-o", "b.png", "--backend", "abacus"),
        ("a.png", "-o", "b.png", "--threads", "0"),
        ("a.png", "-o", "b.png", "--nonsense"),
        ("a.png", "a2.png", "-o", "out", "--compare", "strip.png"),
        ("a.png", "-o", "b.png", "--compare", "strip.gif"),
        ("a.png", "-o", "b.png", "--compare", "b.png"),
        ("a.png", "-o", "b.png", "--compare", "a.png"),
        ("a.png", "-o", "b.png", "--compare", "a2.png"),
    ],
    ids=" ".join,
)
def test_wrong_usage(restore: Restore, picture: Picture, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    picture("a.png")
    picture("a2.png", seed=1)
    before = sorted(tmp_path.iterdir())
    result = restore("image", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_app_has_the_commands_of_the_manual() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert names == {"image", "video", "camera", "doctor"}
    assert [group.name for group in app.registered_groups] == ["models", "engines"]


def test_left_out_files_are_told(restore: Restore, picture: Picture, tmp_path: Path, as_json: Callable[..., Any]) -> None:
    picture("in/a.png")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    assert "left out 1 files that have no suffix of an image (.txt: 1)" in restore("image", "in", "-o", "out").stderr
    assert as_json(restore("image", "in", "-o", "other", "--json"))["left_out"] == {".txt": 1}


def test_quality(restore: Restore, picture: Picture, tmp_path: Path) -> None:
    source = picture(height=64, width=64)
    sizes = {}
    for quality in ("20", "95"):
        assert restore("image", source, "-o", f"{quality}.jpg", "--quality", quality).exit_code == 0
        sizes[quality] = (tmp_path / f"{quality}.jpg").stat().st_size
    assert restore("image", source, "-o", "default.jpg").exit_code == 0
    assert sizes["20"] < sizes["95"] == (tmp_path / "default.jpg").stat().st_size
    assert restore("image", source, "-o", "c.jpg", "--quality", "0").exit_code == 2
