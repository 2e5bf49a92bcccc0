"""The small network of conftest.py in PyTorch, with the same weights, as a torch.export program."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle

from export.to_torch import serialised, trace_program
from restore_sdk.backends.torch_file import sidecar, sidecar_text
from restore_sdk.spec import ModelSpec


class SmallNetwork(nn.Module):
    """ONNX's SpaceToDepth and DepthToSpace put the place in the block before the channel; pixel_shuffle is mode CRD."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        for name, values in weights.items():
            self.register_buffer(name, torch.from_numpy(values.copy()))

    def forward(self, image: Tensor) -> Tensor:
        batch, channels, height, width = image.shape
        blocks = image.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 3, 5, 1, 2, 4)
        half = blocks.reshape(batch, 4 * channels, height // 2, width // 2)
        skip = torch.relu(conv2d(half, self.head, padding=1))
        deep = torch.relu(conv2d(conv2d(skip, self.down, stride=2), self.deep, padding=1))
        joined = skip + pixel_shuffle(conv2d(deep, self.up), 2)
        blocks = conv2d(joined, self.tail, padding=1).reshape(batch, 2, 2, channels, height // 2, width // 2)
        return image - blocks.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels, height, width)


def save_program(path: Path, network: nn.Module, spec: ModelSpec) -> Path:
    """`network` at `path`, stamped with `spec`, its digest beside it."""
    path.write_bytes(serialised(trace_program(network.eval(), spec.channels, spec.size_multiple), spec))
    sidecar(path).write_text(sidecar_text(path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
    return path


def save_small_program(path: Path, weights: Mapping[str, np.ndarray], spec: ModelSpec) -> Path:
    """The small network at `path`."""
    return save_program(path, SmallNetwork(weights), spec)
