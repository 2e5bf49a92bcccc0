"""metrics.csv, kept over interruptions, and the picture of its curves."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning
from lightning.pytorch.loggers import CSVLogger
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.engine.files import replacing
from training.engine.run_folder import CURVES, METRICS

Rows = list[dict[str, float]]


def read_metrics(path: Path) -> Rows:
    """Rows of a metrics.csv, each with "step" and the values that were logged then; [] when there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{name: float(text) for name, text in row.items() if _is_number(text)} for row in csv.DictReader(file)]
    return [row for row in rows if "step" in row]


def _is_number(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True


def keep_rows(log: CSVLogger, folder: Path, steps: int) -> None:
    """Let `log`, which writes folder/metrics.csv, begin with the rows of the first `steps` steps that are already there.

    By itself it would delete them; those from after the checkpoint are dropped, or they would stand there twice.
    """
    kept = [row for row in read_metrics(folder / METRICS) if row["step"] < steps]
    for row in kept:
        log.log_metrics({name: value for name, value in row.items() if name != "step"}, int(row["step"]))
    if kept:
        log.save()


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot of curves.png: every metric whose name begins with `prefix`, labelled by what follows.

    Dashed: `target`, and for each metric the last value of that whose name begins with `baseline` instead.
    """

    title: str
    prefix: str
    logarithmic: bool = False
    target: float | None = None
    baseline: str = ""


def draw_curves(rows: Rows, panels: Sequence[Panel]) -> Figure:
    """The metrics of `rows` over steps, a panel beside the other."""
    figure = Figure(figsize=(5.0 * len(panels), 3.6), layout="constrained")
    for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        _draw_panel(axes, rows, panel)
    return figure


def _draw_panel(axes: Axes, rows: Rows, panel: Panel) -> None:
    names = {name for row in rows for name in row if name.startswith(panel.prefix)}
    for name in sorted(names, key=lambda name: (len(name), name)):
        points = [(row["step"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
        steps, values = [step for step, _ in points], [value for _, value in points]
        (line,) = axes.plot(steps, values, marker="." if len(points) < 40 else "", label=name.removeprefix(panel.prefix))
        for base in _last(rows, panel.baseline + name.removeprefix(panel.prefix)) if panel.baseline else ():
            axes.axhline(base, color=line.get_color(), linestyle="--", linewidth=1)
    if panel.target is not None:
        axes.axhline(panel.target, color="gray", linestyle="--", linewidth=1)
    if panel.logarithmic and min((row[name] for row in rows for name in names if name in row), default=0.0) > 0:
        axes.set_yscale("log")  # SURE may be negative
    axes.set(title=panel.title, xlabel="steps")
    axes.grid(alpha=0.3)
    if len(names) > 1:
        axes.legend(fontsize="small", loc="upper right")


def _last(rows: Rows, name: str) -> list[float]:
    return [row[name] for row in rows if math.isfinite(row.get(name, math.nan))][-1:]


class Curves(lightning.Callback):
    """Draws curves.png anew after each validation."""

    def __init__(self, folder: Path, panels: Sequence[Panel]) -> None:
        self._folder, self._panels = folder, panels

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero or trainer.logger is None:
            return
        trainer.logger.save()  # so that the validation just made is in the file
        figure = draw_curves(read_metrics(self._folder / METRICS), self._panels)
        with replacing(self._folder / CURVES) as temporary:
            figure.savefig(temporary, format="png")
