"""What a run says at its end of the held-out images, and the dashed lines that say it in curves.png."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_unir import tiny
from torch import nn

from training import command as command_module
from training.engine.fit import fit
from training.engine.metrics_log import Panel, draw_curves, read_metrics
from training.engine.scores import Score, last_scores, verdict
from training.self_supervised.run import make_run
from training.self_supervised.validation import measure_at
from training.unir import validation as unir_validation
from training.unir.run import make_run as make_unir_run

NAN = float("nan")
ROWS = [
    {"step": 4.0, "val/input_psnr_5": 34.0, "val/psnr_5": 20.0, "val/input_psnr_50": 14.0, "val/psnr_50": 16.0},
    {"step": 9.0, "val/input_psnr_5": 34.0, "val/psnr_5": 30.5, "val/input_psnr_50": 14.0, "val/psnr_50": NAN},
    {"step": 9.0, "train/loss": 0.5},
]
NAMES = {"5": "sigma 5", "50": "sigma 50", "75": "sigma 75"}


def test_the_last_finite_pair_of_each_counts() -> None:
    assert last_scores(ROWS, NAMES) == (Score("sigma 5", 34.0, 30.5), Score("sigma 50", 14.0, 16.0))
    assert last_scores([{"step": 1.0, "val/psnr_5": 30.0}], NAMES) == ()  # of a run from before inputs were measured
    assert str(Score("sigma 5", 34.0, 30.5)) == "sigma 5: 34.00 -> 30.50 dB"


def test_the_verdict_is_in_words_and_only_where_it_is_bad() -> None:
    assert "(sigma 5): train longer" in verdict(last_scores(ROWS, NAMES))
    assert verdict(last_scores(ROWS, {"50": "sigma 50"})) == ""
    assert verdict(()) == ""


def test_the_input_is_a_dashed_line_in_the_colour_of_its_result() -> None:
    (axes,) = draw_curves(ROWS, [Panel("PSNR", "val/psnr_", baseline="val/input_psnr_")]).axes
    dashed = [line for line in axes.get_lines() if line.get_linestyle() == "--"]
    solid = {line.get_label(): line for line in axes.get_lines() if line not in dashed}
    assert [list(line.get_ydata()) for line in dashed] == [[34.0, 34.0], [14.0, 14.0]]
    assert [line.get_color() for line in dashed] == [solid["5"].get_color(), solid["50"].get_color()]


def test_a_network_that_changes_nothing_scores_what_its_input_does() -> None:
    clean = torch.full((1, 3, 8, 8), 0.5)
    found = measure_at(nn.Identity(), clean, torch.ones_like(clean), 25.5)
    assert found["val/input_psnr_25.5"].item() == pytest.approx(20.0, abs=1e-4)  # off by 0.1 everywhere
    assert found["val/psnr_25.5"] == found["val/input_psnr_25.5"]


def test_lost_values_are_scored_apart() -> None:
    clean = torch.full((2, 3, 4, 4), 0.5)
    lost = torch.zeros_like(clean, dtype=torch.bool)
    lost[..., :1] = True
    measured = torch.where(lost, 0.0, clean)
    found = unir_validation.measure(lambda image: image + 0.1 * lost, {"measured": measured, "clean": clean, "lost": lost})  # type: ignore[arg-type]
    assert found["val/input_psnr_lost"].item() == pytest.approx(6.0206, abs=1e-3)  # off by 0.5 where lost
    assert found["val/input_psnr_all"].item() == pytest.approx(12.0412, abs=1e-3)  # and a quarter of it is lost
    assert found["val/psnr_lost"].item() == pytest.approx(7.9588, abs=1e-3)  # off by 0.4


def test_a_run_in_seconds_is_measured_at_its_end(configure: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(configure(trainer={"max_steps": 5, "validate_every": 4}))  # 5 is no multiple of 4
    folder = fit(run)
    assert [row["step"] for row in read_metrics(folder / "metrics.csv") if "val/psnr_5" in row] == [3, 4]
    assert [score.name for score in run.scores] == ["sigma 5", "sigma 15", "sigma 25", "sigma 50"]
    assert run.scores[2].given == pytest.approx(20.2, abs=0.5)  # -20 log10(25 / 255)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_module, "_say", lambda text, style=None: said.append(text))
        command_module._report(run, as_json=False)
        command_module._report(run, as_json=True)
    first, second, *rest, record = capsys.readouterr().out.splitlines()
    assert first == f"{folder}: 5 steps"
    assert second == "PSNR of what was held out, given -> restored"
    assert rest == [f"  {score}" for score in run.scores]
    assert json.loads(record)["held_out"][0]["name"] == "sigma 5"
    assert ["train longer" in line for line in said] == [True, True]  # five steps teach a network nothing


@pytest.mark.parametrize(
    ("corruption", "network", "names"),
    [("remove-pixel:p=0.5", "filling_unet", ["lost values", "all values"]), ("convolve-noise", "residual_unet", ["all values"])],
)
def test_unir_scores_what_was_lost(tmp_path: Path, photos: Path, corruption: str, network: str, names: list[str]) -> None:
    run = make_unir_run(tiny(tmp_path, photos, corruption=corruption, network={"kind": network}, trainer={"max_steps": 2}))
    fit(run)
    assert [score.name for score in run.scores] == names


def test_measured_noise_has_no_scores(configure: Any) -> None:
    assert make_run(configure(data={"noise": "measured"})).score_names == {}
