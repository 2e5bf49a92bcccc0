"""DnCNN-20 for colour (Zhang et al., "Beyond a Gaussian Denoiser", IEEE TIP 2017): the yardstick of speed.

Twenty 3x3 convolutions of 64 channels, 668 227 parameters, batch normalisation folded into them as in deployment.
The weights are random: only its time is measured.
"""

from __future__ import annotations

import logging
import warnings
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

DEPTH, CHANNELS = 20, 64


class DnCNN(nn.Module):
    """restored = y - f(y); (N, 3, H, W) in and out."""

    def __init__(self, depth: int = DEPTH, channels: int = CHANNELS) -> None:
        super().__init__()
        widths = [3, *[channels] * (depth - 1), 3]
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [nn.Conv2d(width_in, width_out, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, y: Tensor) -> Tensor:
        noise: Tensor = self.layers(y)
        return y - noise


def export_dncnn(path: Path) -> Path:
    """Write a DnCNN-20 with random weights to `path` as ONNX with dynamic batch, height and width."""
    torch.manual_seed(0)
    axes = {axis: torch.export.Dim(name, min=1 if axis == 0 else 8) for axis, name in ((0, "n"), (2, "h"), (3, "w"))}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecated calls
        torch.onnx.export(
            DnCNN().eval(),
            (torch.zeros(2, 3, 64, 72),),
            str(path),
            input_names=["image"],
            output_names=["restored"],
            dynamic_shapes=(axes,),
            opset_version=20,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return path
