"""What is measured while training: held-out images at fixed noise levels, and what the loss can say without a clean image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from training.data.noise import Planes, estimate_sigma
from training.engine.files import replacing
from training.engine.metrics_log import Panel
from training.engine.run_folder import SAMPLES
from training.self_supervised.losses import divergence, per_image_mean

LEVELS = (5.0, 15.0, 25.0, 50.0)  # sigma, units of 1/255
GRID_LEVEL, GRID_IMAGES, GRID_SIDE = 25.0, 4, 192
LARGEST_SIDE = 512  # pixels; of larger held-out images the centre is measured
PANELS = (
    Panel("training loss", "train/loss", logarithmic=True),
    Panel("PSNR of held-out images, dB, by sigma", "val/psnr_"),
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
        f"val/psnr_{name}": psnr(restored, clean).mean(),
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


def sample_row(panels: Sequence[Tensor]) -> NDArray[np.uint8]:
    """One row of the sample grid: the centres of (1, 3, H, W) images side by side, as uint8 BGR."""
    height, width = panels[0].shape[-2:]
    side = min(GRID_SIDE, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    row = torch.cat([panel[0, :, top : top + side, left : left + side].clamp(0, 1) for panel in panels], 2)
    pixels = np.rint(row.permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)
    padded = np.pad(pixels, ((0, 0), (0, len(panels) * (GRID_SIDE - side)), (0, 0)))
    return np.ascontiguousarray(padded[:, :, ::-1])


class SampleGrid(lightning.Callback):
    """Writes samples/<step>.png at each validation: noisy | restored | reference, without the last for measured images."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / SAMPLES
        self._rows: list[NDArray[np.uint8]] = []

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._rows = []

    def on_validation_batch_end(  # noqa: PLR0917 (Lightning's signature)
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if len(self._rows) >= GRID_IMAGES:
            return
        reference = [batch["clean"]] if "clean" in batch else []
        noisy = batch["clean"] + GRID_LEVEL / 255.0 * batch["noise"] if "clean" in batch else batch["noisy"]
        self._rows.append(sample_row([noisy, pl_module(noisy), *reference]))

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not self._rows or not trainer.is_global_zero:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        encoded = cv2.imencode(".png", np.concatenate(self._rows))[1]
        with replacing(self._folder / f"{trainer.global_step:07d}.png") as temporary:
            temporary.write_bytes(encoded.tobytes())
