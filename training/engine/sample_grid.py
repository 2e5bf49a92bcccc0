"""samples/<step>.png: what the network does to a few held-out images, at each validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import lightning
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, cat

from training.engine.files import replacing
from training.engine.run_folder import SAMPLES

GRID_IMAGES, GRID_SIDE = 4, 192  # rows, pixels
Batch: TypeAlias = Mapping[str, Tensor]
Panels: TypeAlias = Callable[[lightning.LightningModule, Batch], Sequence[Tensor]]  # what stands side by side, each (N, 3, H, W)


def sample_row(panels: Sequence[Tensor]) -> NDArray[np.uint8]:
    """One row of the grid: the centres of images (3, H, W) side by side, as uint8 BGR."""
    height, width = panels[0].shape[-2:]
    side = min(GRID_SIDE, height, width)
    top, left = (height - side) // 2, (width - side) // 2
    row = cat([panel[:, top : top + side, left : left + side].clamp(0, 1) for panel in panels], 2)
    pixels = np.rint(row.permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)
    padded = np.pad(pixels, ((0, 0), (0, len(panels) * (GRID_SIDE - side)), (0, 0)))
    return np.ascontiguousarray(padded[:, :, ::-1])


class SampleGrid(lightning.Callback):
    """Draws `panels` of the first images; each pixel as a square of `enlarge` pixels."""

    def __init__(self, folder: Path, panels: Panels, *, enlarge: int = 1) -> None:
        self._folder, self._panels, self._enlarge = folder / SAMPLES, panels, enlarge
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
        large = [panel.repeat_interleave(self._enlarge, 2) for panel in self._panels(pl_module, batch)]
        large = [panel.repeat_interleave(self._enlarge, 3) for panel in large]
        self._rows += [sample_row(row) for row in zip(*large, strict=True)][: GRID_IMAGES - len(self._rows)]

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not self._rows or not trainer.is_global_zero:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        encoded = cv2.imencode(".png", np.concatenate(self._rows))[1]
        with replacing(self._folder / f"{trainer.global_step:07d}.png") as temporary:
            temporary.write_bytes(encoded.tobytes())
