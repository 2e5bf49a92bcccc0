"""The networks a checkpoint may name. A new one is a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from training.networks.filling_unet import FillingUNet
from training.networks.unet import DirectUNet, ResidualUNet
from training.networks.unir_resnet import UnirResNet

NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "residual_unet": ResidualUNet,
    "direct_unet": DirectUNet,
    "filling_unet": FillingUNet,
    "unir_resnet": UnirResNet,
}


def build_network(description: Mapping[str, Any]) -> nn.Module:
    """Network from {"kind": name in NETWORKS, **arguments}. Raises ValueError for an unknown kind or argument."""
    arguments = dict(description)
    kind = arguments.pop("kind", None)
    if kind not in NETWORKS:
        raise ValueError(f"network kind {kind!r} is unknown; use one of {', '.join(NETWORKS)}")
    try:
        return NETWORKS[kind](**arguments)
    except TypeError as exc:
        raise ValueError(f"network {kind!r} does not take these arguments ({exc})") from exc
