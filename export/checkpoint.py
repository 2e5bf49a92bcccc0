"""What a checkpoint promises: the network in eval mode with its EMA weights, and the card that training wrote beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.errors import CheckpointUnusableError
from restore_sdk.backends.base import FloatNCHW
from restore_sdk.extras import require
from restore_sdk.tiling.receptive_field import smallest_multiple

if TYPE_CHECKING:
    from torch import nn

_SHOWN = 5  # names in a message


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained network. Sides given to it divide by `size_multiple`; the output is `scale` times as large."""

    network: nn.Module
    card: Mapping[str, Any]
    channels: int
    scale: int
    size_multiple: int

    @property
    def fill(self) -> float | None:
        """What lost pixels hold, for a network that looks for them to fill them in; None for others."""
        return getattr(self.network, "fill", None)

    def infer(self, batch: FloatNCHW, /) -> FloatNCHW:
        """(N, C, H, W) float32 in and, `scale` times as large, out; PyTorch on the CPU."""
        torch = require("torch", "export")
        with torch.inference_mode():
            restored: FloatNCHW = self.network(torch.from_numpy(np.ascontiguousarray(batch))).numpy()
        return restored

    def text(self, key: str, default: str = "") -> str:
        """A field of the card as text; lists are joined by commas."""
        value = self.card.get(key)
        if isinstance(value, (list, tuple)):
            return ", ".join(map(str, value))
        return default if value is None else str(value)


def load_checkpoint(path: Path) -> Checkpoint:
    """From a run folder or its model.safetensors. Raises CheckpointUnusableError and MissingExtraError."""
    if path.suffix == ".onnx":
        raise CheckpointUnusableError(path, f"{path} is an ONNX file, which only --precision int8 takes; pass a run folder")
    require("torch", "export")
    require("safetensors", "export")
    checkpoints = require("training.engine.checkpoint", "export")
    try:
        network, card = checkpoints.load_network(path)
    except (checkpoints.CheckpointError, OSError) as exc:
        raise CheckpointUnusableError(path, str(exc)) from exc
    _check_finite(path, network)
    channels = _positive(path, card["network"].get("channels", 3), "channels")
    scale = _positive(path, card.get("scale", 1), "scale")
    network.requires_grad_(False)
    return Checkpoint(network, card, channels, scale, _size_multiple(path, network, channels, scale))


def _check_finite(path: Path, network: nn.Module) -> None:
    """What every check of a model file would fail on later, and not say why."""
    bad = [name for name, value in network.state_dict().items() if not bool(value.isfinite().all())]
    if bad:
        shown = ", ".join(bad[:_SHOWN]) + (f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else "")
        reason = f"{path}: {len(bad)} of its weights are NaN or infinite: {shown}; use an earlier checkpoint, or train again"
        raise CheckpointUnusableError(path, reason)


def _positive(path: Path, value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CheckpointUnusableError(
            path, f"{path}: its card has {name}={value!r}, expected an integer of at least 1; train it again"
        )
    return value


def _size_multiple(path: Path, network: nn.Module, channels: int, scale: int) -> int:
    """The stride that the network declares, once it is seen to be enough; else the smallest multiple it accepts.

    A network may accept more sizes than its stride allows (it crops or floors); what it declares counts then.
    """
    probed = smallest_multiple(lambda height, width: _keeps_size(network, (1, channels, height, width), scale))
    declared = getattr(network, "size_multiple", probed)
    if not isinstance(declared, int) or declared < 1 or declared % probed:
        reason = f"its network declares size_multiple={declared!r} but accepts multiples of {probed} only; correct the network"
        raise CheckpointUnusableError(path, f"{path}: {reason}")
    return declared


def _keeps_size(network: nn.Module, shape: tuple[int, int, int, int], scale: int) -> bool:
    torch = require("torch", "export")
    try:
        with torch.inference_mode():
            restored = network(torch.zeros(shape))
    except (RuntimeError, ValueError):  # what PyTorch raises for sizes that do not fit
        return False
    return isinstance(restored, torch.Tensor) and tuple(restored.shape) == (1, shape[1], shape[2] * scale, shape[3] * scale)
