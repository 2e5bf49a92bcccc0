"""One training run on Lightning: EMA, time budget, CSV log, checkpoints that survive an interruption."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from training.data.crops import BatchStream
from training.engine.budget import Budget
from training.engine.config import ConfigError, RunConfig
from training.engine.errors import HardwareError
from training.engine.files import naming
from training.engine.metrics_log import keep_rows, read_metrics
from training.engine.notices import expected_notices_hidden
from training.engine.progress import BudgetProgress
from training.engine.recorder import Recorder, signals_restored
from training.engine.resuming import ConfiguredRates, check_same_settings, go_on
from training.engine.run_folder import METRICS, check_unused, last_checkpoint, prepare, read_checkpoint
from training.engine.scores import Score, last_scores

FAST_DEV_STEPS = 2
logger = logging.getLogger(__name__)
Config = TypeVar("Config", bound=RunConfig)


@dataclass(slots=True)
class Run:
    """What a method hands to the engine. `module` holds the network to export as `module.network`; `card` tells of it;
    `summary` says in one line what the run trains on; `rates` are the learning rates by their keys, one for each group of the
    optimiser's parameters (without it: trainer.learning_rate); `score_names` which PSNR is measured, see last_scores."""

    config: RunConfig
    module: lightning.LightningModule
    budget: Budget
    card: Callable[[], Mapping[str, Any]]
    batches: BatchStream
    validation: DataLoader[Any]
    callbacks: list[lightning.Callback] = field(default_factory=list)
    summary: str = ""
    rates: Mapping[str, float] = field(default_factory=dict)
    score_names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rates = self.rates or {"trainer.learning_rate": self.config.trainer.learning_rate}
        if self.config.keep_fp32:
            self._check_kept()

    @property
    def folder(self) -> Path:
        """Where everything of the run is written."""
        return self.config.folder

    @property
    def scores(self) -> tuple[Score, ...]:
        """What the last validation measured."""
        return last_scores(read_metrics(self.folder / METRICS), self.score_names)

    @property
    def network(self) -> nn.Module:
        """The network that is exported."""
        network = self.module.network
        if not isinstance(network, nn.Module):
            raise TypeError("the module has no `network` to export")
        return network

    def _check_kept(self) -> None:
        """Raise ConfigError now for a name that the export would refuse after the training."""
        known = {name for name, _ in self.network.named_modules() if name}
        unknown = [name for name in self.config.keep_fp32 if name not in known]
        if unknown:
            within = ", ".join(name for name, _ in self.network.named_children())
            raise ConfigError(f"keep_fp32: {', '.join(unknown)}: no module of the network, which has {within}")


def fast_dev(config: Config) -> Config:
    """The same configuration cut to two steps and one validation, in a folder of its own: runs/<name>-fast-dev."""
    trainer = config.trainer.model_copy(update={"max_steps": FAST_DEV_STEPS, "max_seconds": None})
    return config.model_copy(update={"name": f"{config.name}-fast-dev", "trainer": trainer})


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average whose memory grows to `decay`, so that a short run is not stuck at its initial weights.
    Counters, such as that of batch norm, have no average."""

    def average(mean: Tensor, value: Tensor, updates: Tensor | int) -> Tensor:
        if not mean.is_floating_point():
            return value
        count = float(updates)
        return mean.lerp(value, 1.0 - min(decay, (1.0 + count) / (10.0 + count)))

    return average


def fit(run: Run, *, resume: bool = False, overwrite: bool = False) -> Path:
    """Train and return the run's folder. With `resume`, go on from its last checkpoint, if there is one.

    SIGINT (Ctrl-C) or SIGTERM ends the run after the step in hand, with everything saved; a second one stops at once.
    Raises RunExistsError (neither `resume` nor `overwrite`, and the folder holds a run), SettingsChangedError (`resume` with
    other settings than the run's), CheckpointError, HardwareError, DivergedError, TrainingInterrupted, OSError when the folder
    cannot be written.
    """
    first_process = process_number() == 0  # the others find the folder as the first has left it
    if first_process:
        check_unused(run.folder, resume=resume, overwrite=overwrite)
    last = last_checkpoint(run.folder, resume=resume)
    if last is not None and _go_on(run, last):
        return run.folder
    run.budget.use_rates(run.rates)
    with signals_restored(), expected_notices_hidden(), naming(run.folder):  # Lightning writes the log there
        log = CSVLogger(run.folder, name="", version="")
        trainer = make_trainer(run, log)  # before the folder is touched: this may fail
        if first_process:
            prepare(run.config, run.folder, anew=last is None)
            keep_rows(log, run.folder, run.budget.steps)
        _train(run, trainer, last)
    return run.folder


def process_number() -> int:
    """Which of the processes that train together this is, known before they have met: Lightning starts the others with it."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def _go_on(run: Run, last: Path) -> bool:
    """Set the budget and the batches to where the checkpoint stopped; whether nothing is left to do."""
    check_same_settings(run.config, run.folder)
    go_on(run.budget, read_checkpoint(last, run.module.state_dict()), run.rates)
    run.batches.start = run.budget.steps
    if run.budget.spent:
        logger.warning("%s is finished; raise trainer.max_steps or trainer.max_seconds to train on", run.folder)
    return run.budget.spent


def _train(run: Run, trainer: lightning.Trainer, last: Path | None) -> None:
    try:
        trainer.fit(run.module, DataLoader(run.batches, batch_size=None), run.validation, ckpt_path=last, weights_only=True)
    except SystemExit as exc:
        if isinstance(exc.__context__, KeyboardInterrupt):  # Lightning turns it into an exit with code 1
            raise KeyboardInterrupt from exc
        raise


def make_trainer(run: Run, log: CSVLogger) -> lightning.Trainer:
    """Lightning's trainer with this run's settings and callbacks. Raises HardwareError."""
    settings = run.config.trainer
    averaging = WeightAveraging(avg_fn=moving_average(settings.ema_decay))
    try:
        return lightning.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            max_steps=settings.max_steps,
            val_check_interval=min(settings.validate_every, settings.max_steps),
            check_val_every_n_epoch=None,
            gradient_clip_val=settings.gradient_clip,
            num_sanity_val_steps=0,
            callbacks=[
                averaging,
                *run.callbacks,
                ConfiguredRates(run.rates),
                Recorder(run),
                BudgetProgress(run.budget),
            ],
            logger=log,
            log_every_n_steps=min(50, settings.max_steps),
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
    except (MisconfigurationException, RuntimeError, ValueError) as exc:
        raise HardwareError(settings.accelerator, settings.devices, str(exc).splitlines()[0]) from exc
