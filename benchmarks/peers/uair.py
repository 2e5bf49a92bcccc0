"""UAIR as deepinv has it, in place of ours on the same networks, data and loop (`pip install deepinv`).

Its losses are deepinv's own: the operator of the observation re-measures, no theta is drawn anew and no noise is added, and the
target of the second pass is not held fixed.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import torch
from torch import Tensor

from training.data.corrupted import thetas_at
from training.unir.module import UnirModule
from training.unir.network import frozen


def installed() -> bool:
    """Whether deepinv can be imported: it is there, and its torchvision fits PyTorch."""
    try:
        importlib.import_module("deepinv")
    except (ImportError, RuntimeError):
        return False
    return True


class UairModule(UnirModule):
    """Our module with deepinv's two losses as its terms."""

    def terms(self, batch: Mapping[str, Tensor], rng: torch.Generator) -> dict[str, Tensor]:
        """deepinv's generator loss (adversarial and measurement consistency together) and its discriminator loss."""
        deepinv = importlib.import_module("deepinv")
        measured, theta = batch["measured"], thetas_at(self.training_theta, batch["index"])
        physics = deepinv.physics.Physics(A=lambda x, **_: self._operator.apply(x, theta))
        again = physics.A(self.network(measured))
        if self.discriminator is None:
            raise ValueError("UAIR needs a discriminator; set loss.adversarial above 0")
        with frozen(self.discriminator):
            generator = deepinv.loss.adversarial.UAIRGeneratorLoss(device=self.device)
            first = generator(measured, again, physics, self.network, D=self.discriminator)
        discriminator = deepinv.loss.adversarial.UnsupAdversarialDiscriminatorLoss(device=self.device)
        return {"generator": first, "discriminator": discriminator(measured, again.detach(), D=self.discriminator)}
