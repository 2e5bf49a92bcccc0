"""Errors of noise estimates, and how they are summed up."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.arguments import Findings
from benchmarks.images import Sample
from benchmarks.noise_level import add_figures, clipped_mean, errors, main, median_of_all


def test_both_are_right_on_a_flat_picture(tmp_path: Path) -> None:
    path = tmp_path / "flat.png"
    cv2.imwrite(str(path), np.full((128, 128, 3), 120, np.uint8))
    for found in errors([Sample(0, path), Sample(1, None)], 10.0).values():
        assert found == [pytest.approx(0, abs=0.06)]


def test_the_usual_median_by_hand() -> None:
    image = torch.tensor([[0.0, 1.0], [0.0, 3.0]]).expand(3, 2, 2) * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    assert median_of_all(image) == pytest.approx(2 / 2 / 0.67449, rel=1e-5)


def test_mean_of_clipped_noise() -> None:
    drawn = torch.randn(200_000, generator=torch.Generator().manual_seed(0)) * 0.3
    means = [float((clean + drawn).clamp(0, 1).mean()) for clean in (0.0, 0.2, 0.5, 1.0)]
    assert clipped_mean(torch.tensor([0.0, 0.2, 0.5, 1.0]), 0.3).tolist() == pytest.approx(means, abs=0.002)


def test_figures_in_per_cent() -> None:
    findings = Findings()
    add_figures("set_5", {"ours": [0.03, -0.04]}, findings)
    assert {figure.name: round(figure.value, 6) for figure in findings.figures} == {
        "set_5_ours_rms": round(100 * (0.0025 / 2) ** 0.5, 6),
        "set_5_ours_mean": -0.5,
    }


def test_without_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path)]) == 0
    assert "0 s for everything" in capsys.readouterr().out
