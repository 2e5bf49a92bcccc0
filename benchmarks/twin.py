"""The network of an ONNX model rebuilt in PyTorch, for the peer that runs there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.spec import ModelSpec
from training.networks.table import build_network


def torch_twin(path: Path) -> tuple[nn.Module, bool]:
    """The network of the ONNX model in `path` as a PyTorch module in eval mode, and whether it has the same weights.

    It is rebuilt from source["network"] of the spec. Where the initialisers' names do not match, the weights stay random: the
    time is the same, the picture is not. Raises ValueError when the spec does not describe the network.
    """
    spec = ModelSpec.from_metadata(read_onnx(path).metadata)
    network = build_network({"kind": "residual_unet", **_description(path, spec)}).eval()
    found = _initialisers(path)
    wanted = network.state_dict()
    same = all(name in found and found[name].shape == value.shape for name, value in wanted.items())
    if same:
        network.load_state_dict({name: found[name] for name in wanted})
    return network, same


def _description(path: Path, spec: ModelSpec) -> Mapping[str, Any]:
    try:
        description = json.loads(spec.source["network"])
    except (KeyError, TypeError, ValueError):
        description = None
    if not isinstance(description, dict):
        raise ValueError(f"{path.name} does not say in its spec's source['network'] how to rebuild it; export it again")
    return description


def _initialisers(path: Path) -> dict[str, Tensor]:
    tensors = onnx.load(path).graph.initializer
    return {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in tensors}
