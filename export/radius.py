"""The receptive radius that is safe to promise: a property of the network's structure, not of its weights.

A trained weight near zero hides a path from a probe, and float32 rounding hides the faint ones, yet on another image the same
path may flip a bit. So the probe runs on a copy whose weights are all positive, in float64, where nothing cancels and, on
black, nothing is rounded away; what the real weights show through ONNX Runtime must then be within it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from export.checkpoint import Checkpoint
from export.errors import ExportError
from export.run_count import numbered, uncounted
from restore_sdk.backends.base import Backend, FloatNCHW
from restore_sdk.extras import require
from restore_sdk.tiling.receptive_field import Planes, ReceptiveField, probe_receptive_field

if TYPE_CHECKING:
    from torch import nn

LARGEST_RADIUS = 512  # pixels; beyond it tiles would be nearly all halo


def structural_field(
    checkpoint: Checkpoint, *, limit: int = LARGEST_RADIUS, on_run: Callable[[int], None] = uncounted
) -> ReceptiveField:
    """Receptive field of the network whatever its weights are; `on_run` is told of each run of it."""
    torch = require("torch", "export")
    positive, ran = positive_copy(checkpoint.network), numbered(on_run)

    def function(image: FloatNCHW) -> Planes:
        with torch.inference_mode():
            restored: Planes = positive(torch.from_numpy(image.astype(np.float64))).numpy()
        ran()
        return restored

    return probe_receptive_field(function, checkpoint.channels, checkpoint.size_multiple, checkpoint.scale, limit=limit)


def check_measured(backend: Backend, structural: ReceptiveField, *, limit: int = LARGEST_RADIUS) -> ReceptiveField:
    """Receptive field of the exported model with its real weights. Raises ExportError if it exceeds the structural one."""
    spec = backend.spec
    measured = probe_receptive_field(backend.infer, spec.channels, spec.size_multiple, spec.scale, limit=limit)
    allowed = np.inf if structural.radius is None else structural.radius
    if (np.inf if measured.radius is None else measured.radius) > allowed:
        raise ExportError(
            f"the exported model reaches {measured.radius} px (None: the whole image), its structure {structural.radius} px",
            "look for an operator whose reach depends on its weights",
        )
    return measured


def positive_copy(network: nn.Module) -> nn.Module:
    """The network in float64 with kernels drawn from [0.5, 1.5] / fan-in, so that signals keep their size through any depth;
    biases 0, gains [0.5, 1.5], running statistics those of standard noise. Reproducible."""
    torch = require("torch", "export")
    network = copy.deepcopy(network).double().eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            fan_in = weight[0].numel() if weight.dim() > 1 else 1
            weight.uniform_(0.5, 1.5, generator=random).div_(fan_in)
            if weight.dim() < 2 and name.endswith("bias"):
                weight.zero_()
        for name, buffer in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.fill_(float(name.endswith("var")))
    return network
