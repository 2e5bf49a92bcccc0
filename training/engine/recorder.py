"""The callback that keeps a run's clock, saves it, and ends it: at the end of the budget, on a signal, or when it diverges."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from types import FrameType
from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch import Tensor

from training.engine.checkpoint import FILE_NAME, save_network
from training.engine.errors import INTERRUPTS, DivergedError, TrainingInterrupted
from training.engine.files import replacing
from training.engine.run_folder import BUDGET_KEY, LAST

if TYPE_CHECKING:
    from training.engine.fit import Run

LOOK_EVERY = 50  # steps between looks at the loss on an accelerator, where each look waits for the device


class Recorder(lightning.Callback):
    """Saves `last.ckpt` to go on from and `model.safetensors` (EMA) to use, after each validation and at the end.

    Must come after the WeightAveraging callback, which puts the averaged weights into the checkpoint that this one reads.
    Raises TrainingInterrupted once a signal came and all is saved, DivergedError instead of saving what is not finite.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._signal: int | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._catch_signals()
        self._run.budget.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: object, batch_idx: int
    ) -> None:
        interrupted = self._interrupted(trainer)
        last = self._agreed(trainer, self._run.budget.spent)
        if interrupted or last or pl_module.device.type == "cpu" or trainer.global_step % LOOK_EVERY == 0:
            self._check_loss(outputs)
        if interrupted or last:
            self._save(trainer)
        if interrupted:
            self._leave()
        trainer.should_stop = trainer.should_stop or last

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._run.budget.stop()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._save(trainer)
        if self._interrupted(trainer):
            self._leave()
        self._run.budget.start()

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        budget = self._run.budget
        checkpoint[BUDGET_KEY] = {
            "steps": budget.steps,
            "seconds": budget.elapsed,
            "learning_rates": budget.learning_rates,
        }

    def _agreed(self, trainer: lightning.Trainer, wish: bool) -> bool:
        """What one process wishes, all do. One alone need not wait for its device."""
        return wish if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(wish, all=False)

    def _interrupted(self, trainer: lightning.Trainer) -> bool:
        return self._agreed(trainer, self._signal is not None)

    def _leave(self) -> None:
        raise TrainingInterrupted(self._run.folder, self._run.budget.steps, self._signal or signal.SIGINT)

    def _check_loss(self, outputs: Mapping[str, Any]) -> None:
        """outputs["terms"], where a method has several, are looked at one by one so that the message can name the culprits."""
        loss = outputs["loss"]
        if not torch.isfinite(loss):
            culprits = [name for name, term in outputs.get("terms", {}).items() if not torch.isfinite(term)]
            named = f" because of {', '.join(culprits)}" if culprits else ""
            raise DivergedError(f"the loss is {loss.item()}{named}", self._run.budget.steps, self._run.folder)

    def _save(self, trainer: lightning.Trainer) -> None:
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self._run.folder / LAST)  # every process takes part, the first alone writes
            return
        with replacing(self._run.folder / LAST) as temporary:
            trainer.save_checkpoint(temporary)
            content = torch.load(temporary, map_location="cpu", weights_only=True)
            for weights in (content["current_model_state"], content["state_dict"]):
                self._check_weights(weights)
        state: dict[str, Tensor] = content["state_dict"]
        prefix = "network."
        save_weights(self._run, {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)})

    def _check_weights(self, weights: Mapping[str, Tensor]) -> None:
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            raise DivergedError("the weights are not finite", self._run.budget.steps, self._run.folder)

    def _catch_signals(self) -> None:
        """The first signal is noted and obeyed after the step in hand; a second one acts at once."""

        def note(number: int, frame: FrameType | None) -> None:
            self._signal = number
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

        if threading.current_thread() is threading.main_thread():
            for number in INTERRUPTS:
                signal.signal(number, note)


@contextmanager
def signals_restored() -> Iterator[None]:
    """After the block, the signal handlers are those from before it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def save_weights(run: Run, weights: Mapping[str, Tensor]) -> None:
    """Write `weights` with the run's card as model.safetensors."""
    network = deepcopy(run.network)
    network.load_state_dict(weights)
    save_network(run.folder / FILE_NAME, network, run.card())
