"""What is measured while training: held-out images at fixed noise levels, and what the loss can say without a clean image."""

from __future__ import annotations

from pathlib import Path

import cv2
import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from training.data.noise import Planes
from training.engine.files import replacing
from training.self_supervised.losses import divergence, per_image_mean

LEVELS = (5.0, 15.0, 25.0, 50.0)  # sigma, units of 1/255
GRID_LEVEL, GRID_IMAGES, GRID_SIDE = 25.0, 4, 192


class HeldOut(Dataset[dict[str, Tensor]]):
    """Held-out images with one frozen noise for each level: {"clean", "noise" (3, H, W), "index"}, cropped to `multiple`."""

    def __init__(self, images: list[Planes], multiple: int, seed: int) -> None:
        self._images, self._multiple, self._seed = images, multiple, seed

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image = self._images[index]
        height, width = (side // self._multiple * self._multiple for side in image.shape[1:])
        clean = torch.from_numpy(np.ascontiguousarray(image[:, :height, :width]))
        generator = torch.Generator().manual_seed(self._seed * 100_003 + index)
        return {"clean": clean, "noise": torch.randn(clean.shape, generator=generator)}


def psnr(restored: Tensor, clean: Tensor) -> Tensor:
    """10 log10(1 / MSE), dB, of images in [0, 1] clipped to that range; (N, C, H, W) to (N,)."""
    return -10.0 * torch.log10(per_image_mean((restored.clamp(0, 1) - clean) ** 2))


def measure(network: nn.Module, clean: Tensor, noise: Tensor, level: float) -> dict[str, Tensor]:
    """PSNR, Monte-Carlo divergence, SURE and true MSE (unclipped) of one batch at noise `level` / 255; SURE sees no clean pixel."""
    sigma = level / 255.0
    noisy = clean + sigma * noise
    restored = network(noisy)
    probe = torch.randint_like(noise, 2) * 2 - 1
    trace = divergence(network, noisy, restored, torch.tensor(0.1 * sigma), probe).mean()
    estimate = ((restored - noisy) ** 2).mean() - sigma**2 + 2 * sigma**2 * trace
    truth = ((restored - clean) ** 2).mean()
    name = f"{level:g}"
    return {
        f"val/psnr_{name}": psnr(restored, clean).mean(),
        f"val/divergence_{name}": trace,
        f"val/sure_{name}": estimate,
        f"val/mse_{name}": truth,
        f"val/sure_over_mse_{name}": estimate / truth,
    }


def tile_picture(noisy: Tensor, restored: Tensor, clean: Tensor) -> NDArray[np.uint8]:
    """One row of the sample grid: noisy | restored | reference, uint8 BGR, centre crops."""
    height, width = noisy.shape[-2:]
    side = min(GRID_SIDE, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    panels = [image[0, :, top : top + side, left : left + side].clamp(0, 1) for image in (noisy, restored, clean)]
    row = torch.cat(panels, 2).permute(1, 2, 0).cpu().numpy()
    padded = np.pad(np.rint(row * 255).astype(np.uint8), ((0, GRID_SIDE - side), (0, 3 * (GRID_SIDE - side)), (0, 0)))
    return np.ascontiguousarray(padded[:, :, ::-1])


class SampleGrid(lightning.Callback):
    """Writes samples/<step>.png at each validation: noisy | restored | reference."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "samples"
        self._rows: list[NDArray[np.uint8]] = []

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._rows = []

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: object, batch: dict[str, Tensor], *_: object
    ) -> None:
        if len(self._rows) < GRID_IMAGES:
            noisy = batch["clean"] + GRID_LEVEL / 255.0 * batch["noise"]
            self._rows.append(tile_picture(noisy, pl_module(noisy), batch["clean"]))

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not self._rows or trainer.fast_dev_run:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        encoded = cv2.imencode(".png", np.concatenate(self._rows))[1]
        with replacing(self._folder / f"{trainer.global_step:07d}.png") as temporary:
            temporary.write_bytes(encoded.tobytes())

