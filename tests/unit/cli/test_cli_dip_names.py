"""-m dip-...: the four fits, files whose names begin like theirs, and names that were mistyped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restore_sdk.cli.dip_flags import DipFlags, means_fit
from restore_sdk.cli.video import _what_is_kept, opened
from restore_sdk.errors import OptionsError
from restore_sdk.options import DIP_TASKS
from restore_sdk.restorer import Restorer

Restore = Callable[..., Any]
Picture = Callable[..., Path]
PLACE = {"backend": "auto", "device": "cpu", "tile": "auto", "threads": 1}


@pytest.fixture
def dip_file(small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A trained model in the working folder, by its name alone."""
    shutil.copy(small_model, tmp_path / "dip-net.onnx")
    monkeypatch.chdir(tmp_path)
    return "dip-net.onnx"


def test_what_means_a_fit(dip_file: str, tmp_path: Path) -> None:
    (tmp_path / "dip-weights").mkdir()
    assert all(map(means_fit, (*DIP_TASKS, "dip-denoize", "dip-")))
    assert not any(map(means_fit, (dip_file, "dip-gone.pt2", "dip-weights", "denoise", "./dip-denoise.onnx", "")))


def test_a_model_file_whose_name_begins_with_dip(dip_file: str, restore: Restore, picture: Picture, tmp_path: Path) -> None:
    result = restore("image", picture(), "-o", "b.png", model=dip_file)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "b.png").is_file()
    with opened(dip_file, PLACE, DipFlags(), reuse=False) as (runs, tiles):
        assert isinstance(runs, Restorer)
        assert tiles is None


def test_a_model_file_that_is_not_there(restore: Restore, picture: Picture) -> None:
    result = restore("image", picture(), "-o", "b.png", model="dip-gone.onnx")
    assert result.exit_code == 4
    assert "there is no file dip-gone.onnx here" in result.stderr


def test_a_mistyped_fit_names_the_four(restore: Restore, picture: Picture) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    result = restore("image", picture(), "-o", "b.png", model="dip-denoize")
    assert result.exit_code == 2
    assert f"model='dip-denoize', expected one of {', '.join(DIP_TASKS)}" in result.stderr
    with (
        pytest.raises(OptionsError, match=f"expected one of {', '.join(DIP_TASKS)}"),
        opened("dip-denoize", PLACE, DipFlags(), reuse=False),
    ):
        pass


def test_a_video_of_a_model_file_is_kept_in_its_own_parts(dip_file: str) -> None:
    pytest.importorskip("av", reason="needs the extra [video]")
    kept = {model: _what_is_kept("out.mkv", None, model) for model in (dip_file, "denoise", "dip-denoise")}
    assert kept[dip_file] == kept["denoise"] != kept["dip-denoise"]
