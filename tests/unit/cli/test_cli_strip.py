"""`restore image --compare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Restore = Callable[..., Any]
Picture = Callable[..., Path]


def pixels_of(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def test_compare_writes_a_strip(restore: Restore, picture: Picture, tmp_path: Path, as_json: Callable[..., Any]) -> None:
    result = restore("image", picture(height=200, width=240), "-o", "b.png", "--compare", "new/strip.png", "--json")
    assert result.exit_code == 0
    assert as_json(result)["compare"] == "new/strip.png"
    with Image.open(tmp_path / "new" / "strip.png") as strip:
        assert strip.width > 480
        assert strip.height > 200


def test_compare_in_place_shows_the_old_pixels(restore: Restore, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(
        "restore_sdk.cli.restoring.write_strip", lambda path, before, after: shown.update(before=before, after=after)
    )
    source = picture()
    old = pixels_of(source)
    assert restore("image", source, "-o", source, "--overwrite", "--compare", "strip.png").exit_code == 0
    assert np.array_equal(shown["before"], old)
    assert np.array_equal(shown["after"], pixels_of(source))
    assert not np.array_equal(shown["before"], shown["after"])


def test_a_strip_that_fails_leaves_the_result(
    restore: Restore, picture: Picture, tmp_path: Path, as_json: Callable[..., Any]
) -> None:
    (tmp_path / "file").touch()
    result = restore("image", picture(), "-o", "b.png", "--compare", "file/strip.png", "--json")
    assert result.exit_code == 6
    parsed = as_json(result)
    assert parsed["compare"] is None
    assert parsed["compare_error"]["message"]
    assert (tmp_path / "b.png").exists()


def test_no_strip_of_an_unreadable_input(restore: Restore, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert restore("image", "bad.png", "-o", "b.png", "--compare", "strip.png").exit_code == 3
    assert not (tmp_path / "strip.png").exists()


def test_a_strip_that_is_a_folder_is_refused_before_the_work(
    restore: Restore, picture: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "s.png").mkdir()
    result = restore("image", picture(), "-o", "b.png", "--compare", "s.png", "--overwrite")
    assert result.exit_code == 2
    assert "is a directory; give the name" in result.stderr
    assert not (tmp_path / "b.png").exists()


def test_a_strip_below_a_file_names_the_remedy(restore: Restore, picture: Callable[..., Path]) -> None:
    source = picture()
    result = restore("image", source, "-o", "b.png", "--compare", source / "s.png")
    assert result.exit_code == 6
    assert "its folder cannot be made" in result.stderr
    assert "name another --compare" in result.stderr
