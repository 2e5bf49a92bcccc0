"""metrics.csv is read whatever a row holds, and drawn whatever the values are."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.engine.metrics_log import Panel, draw_curves, read_metrics

ROWS = [
    {"step": 0.0, "val/psnr_5": 30.0, "val/psnr_25": 20.0, "loss": -1.0},
    {"step": 9.0, "val/psnr_5": 34.0, "val/psnr_25": float("nan"), "loss": 2.0},
]


def test_empty_cells_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("epoch,step,a,b\n0,1,2.5,\n0,2,,nan\nbroken\n", encoding="utf-8")
    first, second = read_metrics(tmp_path / "m.csv")
    assert first == {"epoch": 0, "step": 1, "a": 2.5}
    assert set(second) == {"epoch", "step", "b"}
    assert read_metrics(tmp_path / "absent.csv") == []


def test_a_panel_has_a_line_for_each_metric_of_its_prefix() -> None:
    figure = draw_curves(ROWS, [Panel("PSNR", "val/psnr_"), Panel("ratio", "val/none", target=1.0)])
    psnr, ratio = figure.axes
    assert [(line.get_label(), list(line.get_xdata()), list(line.get_ydata())) for line in psnr.get_lines()] == [
        ("5", [0, 9], [30, 34]),
        ("25", [0], [20]),
    ]
    assert [list(line.get_ydata()) for line in ratio.get_lines()] == [[1.0, 1.0]]
    assert psnr.get_xlabel() == "steps"


@pytest.mark.parametrize(("rows", "scale"), [(ROWS, "linear"), (ROWS[1:], "log"), ([], "linear")])
def test_a_logarithmic_panel_needs_positive_values(rows: list[dict[str, float]], scale: str) -> None:
    figure = draw_curves(rows, [Panel("loss", "loss", logarithmic=True)])
    figure.draw_without_rendering()
    assert figure.axes[0].get_yscale() == scale
