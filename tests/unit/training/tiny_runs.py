"""What tests of whole runs share."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from training.engine.checkpoint import load_network


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_network(folder)[0].state_dict()


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)
