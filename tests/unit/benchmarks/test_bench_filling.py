"""What is lost, and whose gain is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.arguments import Findings
from benchmarks.filling import gains, lose, measure
from benchmarks.images import Sample
from benchmarks.schema import QualityRow

HIDDEN = "cbsd68 remove-pixel p=0.9, hidden pixels"


def row(method: str, psnr: float, name: str = HIDDEN) -> QualityRow:
    return QualityRow(set=name, sigma=None, method=method, psnr=psnr, ssim=0.5, images=1, seconds=0.0)


@pytest.mark.parametrize(("share", "count"), [(0.5, 10), (0.9, 18), (0.97, 19)])
def test_exactly_so_many_pixels_turn_black_in_all_channels(share: float, count: int) -> None:
    picture = np.full((4, 5, 3), 200, np.uint8)
    given, lost = lose(picture, share, index=3)
    assert lost.sum() == count
    assert (given[lost] == 0).all()
    assert (given[~lost] == 200).all()
    assert np.array_equal(lost, lose(picture, share, index=3)[1])


def test_pictures_lose_other_pixels() -> None:
    picture = np.zeros((20, 20, 3), np.uint8)
    assert not np.array_equal(lose(picture, 0.5, 0)[1], lose(picture, 0.5, 1)[1])


def test_ours_over_the_best_of_the_others() -> None:
    findings = Findings()
    gains([row("corrupted input", 40.0), row("a", 18.0), row("b", 19.0), row("ours", 20.5)], "ours", findings)
    assert [(figure.name, figure.value) for figure in findings.figures] == [("cbsd68_9_over_opencv", 1.5)]


def test_hidden_pixels_and_whole_pictures_by_hand(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "flat.png"
    cv2.imwrite(str(path), np.full((20, 20, 3), 100, np.uint8))
    off_by_ten = {"ten": lambda picture, lost: np.where(lost[..., None], np.uint8(110), picture)}
    hidden, whole = measure("set", 0.5, [Sample(0, path)], off_by_ten)
    assert hidden.psnr == pytest.approx(20 * np.log10(255 / 10), abs=1e-3)
    assert whole.psnr == pytest.approx(20 * np.log10(255 / 10) + 10 * np.log10(2), abs=1e-3)
