"""How far a training is: a bar on a terminal, a line at each validation elsewhere; both on stderr."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import Any

import lightning
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from training.engine.budget import Budget

SECONDS_BETWEEN = 0.5  # of looks at the loss, each of which waits for an accelerator


def describe(budget: Budget) -> str:
    """What is spent of that share of the budget which will end the training, and the training time that is left."""
    steps, elapsed = f"{budget.steps} steps", _clock(budget.elapsed)
    if budget.max_seconds is not None and budget.elapsed / budget.max_seconds >= budget.steps / budget.max_steps:
        return f"{elapsed} of {_clock(budget.max_seconds)}, {steps}, {_left(budget)}"
    return f"{budget.steps} of {budget.max_steps} steps, {elapsed}, {_left(budget)}"


def _left(budget: Budget) -> str:
    if budget.progress == 0:
        return "time left unknown"
    return f"{_clock(budget.elapsed * (1 / budget.progress - 1))} left"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=math.floor(seconds + 0.5)))


class BudgetProgress(lightning.Callback):
    """Shows `describe` of the run's budget and the loss. Validating takes nothing from the budget, and is named."""

    def __init__(self, budget: Budget, console: Console | None = None) -> None:
        self._budget, self._console = budget, console or Console(stderr=True)
        self._bar: Progress | None = None
        self._loss, self._looked = math.nan, -math.inf

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero and self._console.is_terminal and not self._console.is_dumb_terminal:
            text = TextColumn("{task.description}", markup=False)
            columns = (BarColumn(), TaskProgressColumn(), text)
            self._bar = Progress(*columns, console=self._console, transient=True, redirect_stdout=False)
            self._bar.add_task(describe(self._budget), total=1.0)
            self._bar.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: object, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if trainer.is_global_zero and now - self._looked >= SECONDS_BETWEEN:
            self._looked, self._loss = now, float(outputs["loss"])
            self._show(f"{describe(self._budget)}, loss {self._loss:.3g}")

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._show(f"{describe(self._budget)}, validating")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        text = f"{describe(self._budget)}, loss {self._loss:.3g}"
        if trainer.is_global_zero and not self._console.is_terminal:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._show(text)

    def on_exception(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException) -> None:
        self._stop()

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self._stop()

    def _show(self, text: str) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._budget.progress, description=text)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
