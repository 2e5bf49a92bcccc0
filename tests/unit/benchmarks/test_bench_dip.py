"""The benchmark of Deep Image Prior where the centre that was asked for does not fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

from benchmarks import dip
from benchmarks.arguments import exit_with
from benchmarks.dip_cases import CASES, open_trial
from restore_sdk.errors import MaskError

KATE = CASES["inpaint-kate"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An image of 128 x 128 pixels whose mask keeps all but a border."""
    assert KATE.mask is not None
    kept = np.zeros((128, 128), np.uint8)
    kept[16:-16, 16:-16] = 255
    for name, pixels in ((KATE.image, np.full((128, 128, 3), 90, np.uint8)), (KATE.mask, kept)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), pixels)
    return tmp_path


def test_centre_in_which_nothing_is_lost(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert open_trial(KATE, data, 128, 0).known is not None
    with pytest.raises(MaskError, match=r"nothing is lost in the 64 x 64 centre of inpaint-kate; pass a larger --size"):
        open_trial(KATE, data, 64, 0)
    words = ["--data", str(data), "--ledger", str(data / "rows.jsonl"), "--cases", KATE.name, "--size", "64", "--threads", "1"]
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: dip.main(words))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "nothing is lost in the 64 x 64 centre of inpaint-kate; pass a larger --size\n"


@pytest.mark.parametrize("size", ["-5", "8"])
def test_sides_that_are_too_small(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        dip.arguments_of(["--size", size])
    assert ended.value.code == 2
    assert f"{size} is neither 0 nor at least 32" in capsys.readouterr().err
