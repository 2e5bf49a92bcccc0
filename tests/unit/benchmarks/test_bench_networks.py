"""The comparison of candidate networks: what it scores on, what it records, what it draws."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.arguments import Findings
from benchmarks.networks import CANDIDATES, CONFIG, Candidate, held_out, main, plot, record
from benchmarks.schema import Model
from training.engine.config import read_config
from training.networks.table import build_network
from training.self_supervised.config import SelfSupervisedConfig


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose BSDS500 val has three images, one of them in CBSD68."""
    folder = tmp_path / "bsds500" / "val"
    folder.mkdir(parents=True)
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        cv2.imwrite(str(folder / name), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "cbsd68.txt").write_text("bsds500/val/2.jpg\n", encoding="utf-8")
    return tmp_path


def candidate(name: str = "a") -> Candidate:
    facts = Model(name=name, sha256="", parameters=2_000_000, receptive_radius=30)
    return Candidate(name=name, facts=facts, steps=100, psnr=29.5, whole=2.0, tiled=3.0, overlap=1.25)


def test_the_test_set_is_left_out(data: Path) -> None:
    assert [sample.clean.name for sample in held_out(data) if sample.clean] == ["1.jpg", "3.jpg"]


def test_without_the_list_nothing_is_scored(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "cbsd68.txt").unlink()
    assert held_out(data) == []
    assert main(["--data", str(data)]) == 2
    assert "pass --data" in capsys.readouterr().out


def test_tiles_are_compared_with_the_pixels_they_compute() -> None:
    findings = Findings()
    record(candidate(), findings)
    values = {figure.name: figure.value for figure in findings.figures}
    assert values["a_tiles_by_formula"] == 2.5
    assert values["a_tiles_over_formula"] == 1.2
    assert values["a_psnr_25"] == 29.5
    assert "a_gflop_per_megapixel" not in values  # not known here


def test_plot_is_a_picture(tmp_path: Path) -> None:
    plot([candidate("a"), candidate("b")], tmp_path / "new" / "p.png", budget="3 s", core=512)
    assert cv2.imread(str(tmp_path / "new" / "p.png")) is not None


@pytest.mark.parametrize("name", CANDIDATES)
def test_candidates_can_be_built_and_fit_the_configuration(name: str) -> None:
    network = build_network({"kind": "residual_unet", **CANDIDATES[name]})
    patch = read_config(SelfSupervisedConfig, CONFIG).data.patch
    assert patch % int(network.size_multiple) == 0
