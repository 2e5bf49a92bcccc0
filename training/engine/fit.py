"""One training run on Lightning: EMA, time budget, CSV log, checkpoints that survive an interruption."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import RichProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from training.engine.budget import Budget
from training.engine.checkpoint import FILE_NAME, save_network
from training.engine.config import RunConfig, to_toml
from training.engine.files import replacing

LAST = "last.ckpt"
CONFIG = "config.toml"


@dataclass(slots=True)
class Run:
    """What a method hands to the engine. `module` holds the network to export as `module.network`; `card` tells of it."""

    config: RunConfig
    module: lightning.LightningModule
    budget: Budget
    card: Callable[[], Mapping[str, Any]]
    batches: IterableDataset[dict[str, Tensor]]
    validation: DataLoader[Any]
    callbacks: list[lightning.Callback] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where everything of the run is written."""
        return self.config.run_root / self.config.name

    @property
    def network(self) -> nn.Module:
        """The network that is exported."""
        network = self.module.network
        if not isinstance(network, nn.Module):
            raise TypeError("the module has no `network` to export")
        return network


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average whose memory grows to `decay`, so that a short run is not stuck at its initial weights."""

    def average(mean: Tensor, value: Tensor, updates: Tensor | int) -> Tensor:
        count = float(updates)
        return mean.lerp(value, 1.0 - min(decay, (1.0 + count) / (10.0 + count)))

    return average


class Recorder(lightning.Callback):
    """Keeps the clock, ends the run when its budget is spent, and saves: `last.ckpt` to go on from, `model.safetensors` (EMA) to use.

    Must come after the WeightAveraging callback, which puts the averaged weights into the checkpoint that this one reads.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.interrupted = threading.Event()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._run.budget.start()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if self._run.budget.spent or self.interrupted.is_set():
            self._save(trainer)
            trainer.should_stop = True

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._run.budget.stop()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._save(trainer)
        self._run.budget.start()

    def on_save_checkpoint(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]) -> None:
        budget = self._run.budget
        checkpoint["restore_sdk.budget"] = {"steps": budget.steps, "seconds": budget.elapsed}

    def on_load_checkpoint(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]) -> None:
        spent = checkpoint["restore_sdk.budget"]
        self._run.budget.steps, self._run.budget.seconds = spent["steps"], spent["seconds"]

    def _save(self, trainer: lightning.Trainer) -> None:
        with replacing(self._run.folder / LAST) as temporary:
            trainer.save_checkpoint(temporary)
            state = torch.load(temporary, map_location="cpu", weights_only=True)["state_dict"]
        averaged = {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
        if trainer.is_global_zero:
            save_weights(self._run, averaged)


def save_weights(run: Run, weights: Mapping[str, Tensor]) -> None:
    """Write `weights` with the run's card as model.safetensors."""
    current = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.network.load_state_dict(weights)
    save_network(run.folder / FILE_NAME, run.network, run.card())
    run.network.load_state_dict(current)


def fit(run: Run, *, resume: bool = False, fast_dev_run: bool = False) -> Path:
    """Train and return the run's folder. With `resume`, go on from its last checkpoint, if there is one.

    Ctrl-C ends the run after the step in hand, with everything saved; a second one stops at once.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    with replacing(run.folder / CONFIG) as temporary:
        temporary.write_text(to_toml(run.config), encoding="utf-8")
    last = run.folder / LAST
    recorder = Recorder(run)
    trainer = _trainer(run, recorder, fast_dev_run)
    loader = DataLoader(run.batches, batch_size=None)
    with _interrupts(recorder), _expected_warnings():
        trainer.fit(run.module, loader, run.validation, ckpt_path=last if resume and last.is_file() else None, weights_only=True)
    return run.folder


def _trainer(run: Run, recorder: Recorder, fast_dev_run: bool) -> lightning.Trainer:
    settings = run.config.trainer
    steps = 2 if fast_dev_run else settings.max_steps
    averaging = WeightAveraging(avg_fn=moving_average(settings.ema_decay))
    return lightning.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        max_steps=steps,
        val_check_interval=min(settings.validate_every, steps),
        check_val_every_n_epoch=None,
        gradient_clip_val=settings.gradient_clip,
        num_sanity_val_steps=0,
        callbacks=[averaging, *run.callbacks, recorder, RichProgressBar(refresh_rate=20)],
        logger=CSVLogger(run.folder, name="", version=""),
        log_every_n_steps=min(50, steps),
        enable_checkpointing=False,
        enable_model_summary=False,
    )


@contextmanager
def _interrupts(recorder: Recorder) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        recorder.interrupted.set()

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _expected_warnings() -> Iterator[None]:
    """Lightning's advice that does not fit here: the loader is one in-memory stream, so more workers would only copy it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Experiment logs directory.*exists and is not empty.*")
        yield
