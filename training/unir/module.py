"""The LightningModule of UNIR.

Generator and discriminator learn from one backward pass: the generator's terms see a discriminator without gradient, the
discriminator's see restored images without gradient. That is the same as a step of one and then a step of the other on the same
restored images, and it needs one optimiser with two groups, which Lightning can resume and distribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from restore_sdk.degradations import Theta, seeded
from training.data.corrupted import thetas_at
from training.data.crops import process_rank
from training.engine.budget import Budget
from training.unir.config import UnirConfig
from training.unir.losses import (
    GAMES,
    gradient_penalty,
    neighbour_values,
    on_probabilities,
    remeasured_error,
    roughness,
    split_error,
)
from training.unir.network import frozen
from training.unir.validation import measure

Batch: TypeAlias = Mapping[str, Tensor]
NEIGHBOURHOOD = 2  # pixels: how far away a hidden value's stand-in may lie, where no mask can hide it


class UnirModule(lightning.LightningModule):
    """Trains `network` against `discriminator` on {"measured", "index"[, "clean", "other_clean"]} batches, (N, 3, P, P) float32.

    theta is that of all training images; "index" says which are in the batch. It is used by splitting alone.
    """

    def __init__(self, network: nn.Module, discriminator: nn.Module | None, config: UnirConfig, budget: Budget, theta: Theta):
        super().__init__()
        self.network, self.discriminator = network, discriminator
        self._config, self._budget, self.training_theta, self._operator = config, budget, theta, config.operator
        game = GAMES[config.loss.kind]
        self._game = on_probabilities(game) if config.loss.sigmoid else game

    def forward(self, measured: Tensor) -> Tensor:
        restored: Tensor = self.network(measured)
        return restored

    def on_fit_start(self) -> None:
        self.training_theta = self.training_theta.to(self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        terms = self.terms(batch, self.draws())
        loss = torch.stack([*terms.values()]).sum()
        self._budget.take_step()
        self.log("train/loss", loss, prog_bar=True)
        for name, value in terms.items():
            self.log(f"train/{name}", value)
        self.log("train/learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        return {"loss": loss, "terms": {name: value.detach() for name, value in terms.items()}}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        for name, value in measure(self.network, batch).items():
            self.log(name, value, batch_size=len(batch["measured"]), sync_dist=True)

    def draws(self) -> torch.Generator:
        """The source of this step's randomness: seeded by run, step and process, so that a resumed run draws what an
        uninterrupted one would have drawn."""
        state = seeded(self._config.trainer.seed, 1, self._budget.steps, process_rank())
        return torch.Generator(self.device).manual_seed(state.initial_seed())

    def terms(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The weighted terms of the loss by name, those of both networks."""
        loss, measured = self._config.loss, batch["measured"]
        hidden = self.hidden(measured, batch["index"], rng) if loss.splitting else None
        restored = self.network(measured if hidden is None else self.split(measured, hidden, rng))
        if loss.variant == "supervised":
            return {"supervised": ((restored - batch["clean"]) ** 2).mean()}
        terms = {}
        if hidden is not None:
            terms["splitting"] = loss.splitting_weight * self.splitting(restored, batch, hidden)
        if loss.adversarial or loss.remeasure:
            terms |= self.unir(restored, batch, rng)
        if loss.smoothness:
            terms["smoothness"] = loss.smoothness * roughness(restored)
        return terms

    def unir(self, restored: Tensor, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The adversary's terms and lambda's. One fresh theta serves both, as the method wants it."""
        loss, theta, terms = self._config.loss, self._operator.sample_theta(restored, rng), {}
        remeasured = self._operator.measure(restored, theta, rng)
        if self.discriminator is not None:
            terms = self.adversarial(self.discriminator, *self.compared(restored, remeasured, batch))
        if loss.remeasure and loss.variant == "paired":
            terms["remeasure"] = loss.remeasure * ((restored - batch["clean"]) ** 2).mean()
        elif loss.remeasure:
            terms["remeasure"] = loss.remeasure * remeasured_error(self.network, self._operator, remeasured, theta)
        return terms

    def compared(self, restored: Tensor, remeasured: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the discriminator calls real, and what it calls fake."""
        measured = batch["measured"]
        match self._config.loss.variant:
            case "raw":
                return measured, restored
            case "unpaired":
                return batch["other_clean"], restored
            case "paired":
                return torch.cat([measured, batch["clean"]], 1), torch.cat([measured, restored], 1)
            case _:
                return measured, remeasured

    def adversarial(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The generator's term, the discriminator's, and its gradient penalty."""
        loss = self._config.loss
        with frozen(discriminator):
            terms = {"adversarial": loss.adversarial * self._game.generator(discriminator(fake))}
        scores = discriminator(torch.cat([real, fake.detach()]))
        terms["discriminator"] = self._game.discriminator(*scores.chunk(2))
        if loss.r1:
            terms["r1"] = loss.r1 / 2 * gradient_penalty(discriminator, real)
        return terms

    def hidden(self, measured: Tensor, index: Tensor, rng: torch.Generator) -> Tensor:
        """Which measured values are hidden from the generator: bool, the shape of `measured`."""
        kept = self.kept(measured, index)
        if self._config.loss.split_by == "corruption":
            again = self._operator.kept(self._operator.sample_theta(measured, rng))
            return kept if again is None else kept & ~again
        alike = self._operator.kept(self.training_theta)
        planes = 1 if alike is None else alike.shape[1]  # lost in all channels alike, hidden in all channels alike
        drawn = torch.rand((len(measured), planes, *measured.shape[2:]), generator=rng, device=measured.device)
        # From 0 on, so that what the network is given later, with nothing hidden, is no denser than all that it has learnt from
        share = 2 * self._config.loss.splitting * torch.rand((len(measured), 1, 1, 1), generator=rng, device=measured.device)
        return kept & (drawn < share)

    def kept(self, measured: Tensor, index: Tensor) -> Tensor:
        """Which values were measured, bool."""
        kept = self._operator.kept(thetas_at(self.training_theta, index))
        return torch.ones_like(measured, dtype=torch.bool) if kept is None else kept.expand_as(measured)

    def split(self, measured: Tensor, hidden: Tensor, rng: torch.Generator) -> Tensor:
        """The measurement without the hidden values: lost like the others, or a neighbour's where nothing else is lost
        (Noise2Void)."""
        fill = self._config.fill
        if fill is not None:
            return torch.where(hidden, fill, measured)
        shape = (len(measured), 2, *measured.shape[2:])
        offset = torch.randint(-NEIGHBOURHOOD, NEIGHBOURHOOD + 1, shape, generator=rng, device=measured.device)
        return torch.where(hidden, neighbour_values(measured, offset), measured)

    def splitting(self, restored: Tensor, batch: Batch, hidden: Tensor) -> Tensor:
        """See losses.split_error; measured as the observation was, with its own theta."""
        measured, theta = batch["measured"], thetas_at(self.training_theta, batch["index"])
        asked = hidden if self._operator.noisy else self.kept(measured, batch["index"])
        return split_error(self._operator.apply(restored, theta), measured, asked, hidden)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        trainer = self._config.trainer
        groups: list[dict[str, Any]] = [{"params": [*self.network.parameters()], "lr": trainer.learning_rate}]
        if self.discriminator is not None:
            groups.append({"params": [*self.discriminator.parameters()], "lr": self._config.discriminator.learning_rate})
        optimizer = torch.optim.Adam(groups, betas=trainer.betas)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: self._budget.learning_rate_factor(trainer.warmup_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Each network by its own norm: one must not take the other's room."""
        for group in optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], gradient_clip_val or float("inf"))
