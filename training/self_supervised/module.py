"""The LightningModule of the self-supervised denoisers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from training.data.crops import process_rank
from training.engine.budget import Budget
from training.self_supervised import losses
from training.self_supervised.config import SelfSupervisedConfig
from training.self_supervised.validation import measure

Batch: TypeAlias = Mapping[str, Tensor]


def balance_weight(sigma: Tensor, power: float) -> Tensor:
    """(0.12 / (sigma + 0.02)) ** power for sigma (N, 1, 1, 1) in units of [0, 1]; (N,). 1 at sigma = 25/255 or power 0, about."""
    return (0.12 / (sigma.flatten() + 0.02)) ** power


def gray_like(draw: Tensor, gray: Tensor | None, scale: float) -> Tensor:
    """The same draw on all planes where `gray` (N, 1, 1, 1) is 1: a gray crop has one noise, not three."""
    if gray is None:
        return draw
    return torch.where(gray > 0, draw.mean(1, keepdim=True) * scale, draw)


class SelfSupervisedModule(lightning.LightningModule):
    """Trains `network` on {"noisy", "sigma"[, "gray", "clean"]} batches, each (N, 3, P, P) float32 in [0, 1]."""

    def __init__(self, network: nn.Module, config: SelfSupervisedConfig, budget: Budget) -> None:
        super().__init__()
        self.network, self._config, self._budget = network, config, budget

    def forward(self, noisy: Tensor) -> Tensor:
        restored: Tensor = self.network(noisy)
        return restored

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        batch = {name: self._laid_out(value) for name, value in batch.items()}
        each = LOSSES[self._config.loss.kind](self, batch)
        loss = (each * balance_weight(batch["sigma"], self._config.loss.balance)).mean()
        self._budget.take_step()
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        for name, value in measure(self.network, batch).items():
            self.log(name, value, batch_size=1, sync_dist=True)

    def draws(self) -> torch.Generator:
        """The source of this step's randomness: seeded by run, step and process, so that a resumed run draws what an
        uninterrupted one would have drawn."""
        state = np.random.SeedSequence([self._config.trainer.seed, self._budget.steps, 1 + process_rank()])
        return torch.Generator(self.device).manual_seed(int(state.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def r2r(self, batch: Batch) -> Tensor:
        """See losses.r2r."""
        normal = torch.empty_like(batch["noisy"]).normal_(generator=self.draws())
        draw = gray_like(normal, batch.get("gray"), 3**0.5)
        return losses.r2r(self.network, batch["noisy"], batch["sigma"], alpha=self._config.loss.alpha, draw=draw)

    def sure(self, batch: Batch) -> Tensor:
        """See losses.sure."""
        probe = torch.empty_like(batch["noisy"]).bernoulli_(0.5, generator=self.draws()) * 2 - 1
        if "gray" in batch:
            probe = torch.where(batch["gray"] > 0, probe[:, :1], probe)
        return losses.sure(self.network, batch["noisy"], batch["sigma"], tau=self._config.loss.tau, probe=probe)

    def neighbor2neighbor(self, batch: Batch) -> Tensor:
        """See losses.neighbor2neighbor."""
        count, _, height, width = batch["noisy"].shape
        shape, choices = (count, height // 2, width // 2), len(losses.NEIGHBOUR_PAIRS)
        pairs = torch.randint(choices, shape, device=self.device, generator=self.draws())
        gamma = self._config.loss.gamma * self._budget.progress
        return losses.neighbor2neighbor(self.network, batch["noisy"], gamma=gamma, pairs=pairs)

    def supervised(self, batch: Batch) -> Tensor:
        """See losses.supervised."""
        return losses.supervised(self.network, batch["noisy"], batch["clean"])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        trainer = self._config.trainer
        optimizer = torch.optim.Adam(self.network.parameters(), lr=trainer.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: self._budget.learning_rate_factor(trainer.warmup_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _laid_out(self, value: Tensor) -> Tensor:
        # Convolutions of 64 and more channels run 1.1 to 1.3 times faster channels-last, on CPU as on GPU.
        return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


LOSSES: Mapping[str, Callable[[SelfSupervisedModule, Batch], Tensor]] = {
    "r2r": SelfSupervisedModule.r2r,
    "sure": SelfSupervisedModule.sure,
    "neighbor2neighbor": SelfSupervisedModule.neighbor2neighbor,
    "supervised": SelfSupervisedModule.supervised,
}
