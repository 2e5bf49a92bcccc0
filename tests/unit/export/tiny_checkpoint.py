"""An untrained network small enough to export in seconds."""

from __future__ import annotations

from pathlib import Path

import torch

from export.produce import ExportOptions
from training.engine.checkpoint import save_network
from training.networks.unet import ResidualUNet

CARD = {
    "name": "tiny",
    "method": "self_supervised",
    "task": "denoise",
    "trained_on": "BSDS500 train",
    "corruption": "Gaussian, sigma 0-55",
    "licence": "Apache-2.0",
    "seed": 7,
    "steps": 3,
    "network": {"kind": "residual_unet", "widths": [8, 16], "blocks": [1, 1]},
}
QUICK = ExportOptions(memory_sides=(128, 256), threads=1)


def save_tiny(folder: Path, seed: int = 0) -> Path:
    """A run folder with an untrained two-scale network: S = 4, R = 31."""
    torch.manual_seed(seed)
    folder.mkdir()
    save_network(folder / "model.safetensors", ResidualUNet(widths=(8, 16), blocks=(1, 1)), CARD)
    return folder
