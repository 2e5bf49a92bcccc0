"""model.safetensors: the EMA weights and a JSON card that says what they are. No pickle, nothing to execute."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils import parametrize

from training.engine.files import replacing
from training.networks.table import build_network

CARD_KEY = "restore_sdk.checkpoint"
FILE_NAME = "model.safetensors"


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or not one of ours."""

    def __init__(self, path: Path, reason: str, remedy: str = "use a run folder as `python -m training` writes it") -> None:
        super().__init__(f"{path}: {reason}; {remedy}")
        self.path, self.reason = path, reason


def save_network(path: Path, network: nn.Module, card: Mapping[str, Any]) -> None:
    """Write weights and card to `path` (created or replaced whole). card["network"] must rebuild it through build_network.

    Parametrisations, such as spectral normalisation, are folded into the weights that they stand for.
    """
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in folded(network).items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(weights, metadata={CARD_KEY: json.dumps(dict(card), sort_keys=True)}))


def folded(network: nn.Module) -> dict[str, Tensor]:
    """The weights of `network` in eval mode, as if it had no parametrisations."""
    network = deepcopy(network).eval()  # in training mode, to look at a spectral-normalised weight changes it
    weights: dict[str, Tensor] = network.state_dict()
    for path, module in network.named_modules():
        if parametrize.is_parametrized(module):
            prefix = f"{path}." if path else ""
            weights = {name: value for name, value in weights.items() if not name.startswith(f"{prefix}parametrizations.")}
            weights |= {prefix + name: getattr(module, name) for name in module.parametrizations}
    return weights


def load_network(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Network in eval mode and its card, from a model.safetensors or the run folder that holds one. Raises CheckpointError."""
    file = path / FILE_NAME if path.is_dir() else path
    with _opened(file) as opened:
        card = _card(file, opened.metadata())
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    return _network(file, card, weights), card


def read_card(path: Path) -> dict[str, Any]:
    """The card alone. Raises CheckpointError."""
    file = path / FILE_NAME if path.is_dir() else path
    with _opened(file) as opened:
        return _card(file, opened.metadata())


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    if not file.is_file():
        raise CheckpointError(file, "no such file")
    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except (SafetensorError, UnicodeDecodeError) as exc:
        raise CheckpointError(file, f"not a safetensors file ({exc})") from exc


def _card(file: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    try:
        card = json.loads((metadata or {})[CARD_KEY])
    except KeyError:
        raise CheckpointError(file, f"it has no {CARD_KEY!r} card") from None
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(file, f"its card is not JSON ({exc})") from exc
    if not isinstance(card, dict) or not isinstance(card.get("network"), dict):
        raise CheckpointError(file, "its card does not describe a network")
    return card


def _network(file: Path, card: Mapping[str, Any], weights: Mapping[str, Any]) -> nn.Module:
    try:
        with torch.device("meta"):  # takes no memory, whatever size the card asks for
            wanted = {name: value.shape for name, value in build_network(card["network"]).state_dict().items()}
        if wanted != {name: value.shape for name, value in weights.items()}:
            raise ValueError("its weights are those of another network")
        network = build_network(card["network"])
        network.load_state_dict(weights)
    except (ValueError, RuntimeError, TypeError, ArithmeticError) as exc:  # TypeError and the like: arguments of another kind
        raise CheckpointError(file, f"its network cannot be built ({exc})") from exc
    return network.eval()
