"""What is measured while training: held-out images at fixed noise levels, and what the loss can say without a clean image."""

from __future__ import annotations

from collections.abc import Mapping

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from training.data.noise import Planes, estimate_sigma
from training.engine.metrics_log import Panel
from training.engine.scores import GIVEN, RESTORED
from training.self_supervised.losses import divergence, per_image_mean

LEVELS = (5.0, 15.0, 25.0, 50.0)  # sigma, units of 1/255
GRID_LEVEL = 25.0  # sigma of the sample grid
SCORE_NAMES = {f"{level:g}": f"sigma {level:g}" for level in LEVELS}
LARGEST_SIDE = 512  # pixels; of larger held-out images the centre is measured
PANELS = (
    Panel("training loss", "train/loss", logarithmic=True),
    Panel("PSNR of held-out images (dashed: noisy), dB, by sigma", RESTORED, baseline=GIVEN),
    Panel("SURE / true error, by sigma", "val/sure_over_mse_", target=1.0),
)
Batch = Mapping[str, Tensor]


class HeldOut(Dataset[dict[str, Tensor]]):
    """The centres of held-out images, sides a multiple of `multiple` and LARGEST_SIDE at most.

    Items: {"clean", "noise"}, both (3, H, W), the noise one frozen draw of N(0, 1); or, if the images are `measured`, {"noisy",
    "sigma"}: as they are, with their estimated noise level.
    """

    def __init__(self, images: list[Planes], multiple: int, seed: int, *, measured: bool = False) -> None:
        self._images, self._multiple, self._seed, self._measured = images, multiple, seed, measured

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image = self._images[index]
        height, width = (min(side, LARGEST_SIDE) // self._multiple * self._multiple for side in image.shape[1:])
        top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
        centre = torch.from_numpy(np.ascontiguousarray(image[:, top : top + height, left : left + width]))
        if self._measured:
            return {"noisy": centre, "sigma": torch.tensor(estimate_sigma(image))}
        generator = torch.Generator().manual_seed(self._seed * 100_003 + index)
        return {"clean": centre, "noise": torch.randn(centre.shape, generator=generator)}


def psnr(restored: Tensor, clean: Tensor) -> Tensor:
    """10 log10(1 / MSE), dB, of images in [0, 1] clipped to that range; (N, C, H, W) to (N,)."""
    return -10.0 * torch.log10(per_image_mean((restored.clamp(0, 1) - clean) ** 2))


def measure(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """All that can be said of one batch of HeldOut, by the name under which it is logged."""
    if "noisy" in batch:
        return measure_blind(network, batch["noisy"], batch["sigma"])
    levels = [measure_at(network, batch["clean"], batch["noise"], level) for level in LEVELS]
    return {name: value for level in levels for name, value in level.items()}


def measure_at(network: nn.Module, clean: Tensor, noise: Tensor, level: float) -> dict[str, Tensor]:
    """PSNR, Monte-Carlo divergence, SURE and true MSE (unclipped) at noise `level` / 255; SURE sees no clean pixel."""
    sigma = torch.tensor(level / 255.0)
    noisy = clean + sigma * noise
    restored = network(noisy)
    estimate, trace = estimate_error(network, noisy, restored, sigma)
    truth = ((restored - clean) ** 2).mean()
    name = f"{level:g}"
    return {
        f"{GIVEN}{name}": psnr(noisy, clean).mean(),
        f"{RESTORED}{name}": psnr(restored, clean).mean(),
        f"val/divergence_{name}": trace,
        f"val/sure_{name}": estimate,
        f"val/mse_{name}": truth,
        f"val/sure_over_mse_{name}": estimate / truth,
    }


def measure_blind(network: nn.Module, noisy: Tensor, sigma: Tensor) -> dict[str, Tensor]:
    """Monte-Carlo divergence and SURE of images that have no reference."""
    estimate, trace = estimate_error(network, noisy, network(noisy), sigma)
    return {"val/divergence": trace, "val/sure": estimate}


def estimate_error(network: nn.Module, noisy: Tensor, restored: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """SURE and the Monte-Carlo divergence, each over all pixels of the batch."""
    probe = torch.empty_like(noisy).bernoulli_(0.5) * 2 - 1
    trace = divergence(network, noisy, restored, (0.1 * sigma).clamp_min(1e-4), probe).mean()
    return ((restored - noisy) ** 2).mean() - (sigma**2).mean() + 2 * (sigma**2).mean() * trace, trace


def panels(module: lightning.LightningModule, batch: Batch) -> list[Tensor]:
    """A row of the sample grid: noisy | restored | reference, without the last for measured images."""
    reference = [batch["clean"]] if "clean" in batch else []
    noisy = batch["clean"] + GRID_LEVEL / 255.0 * batch["noise"] if "clean" in batch else batch["noisy"]
    return [noisy, module(noisy), *reference]
