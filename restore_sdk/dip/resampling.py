"""Mirrored borders and doubled sides, each in two forms of the same values.

PyTorch's own kernels for them add up gradients in no fixed order on a GPU, so a seed would not decide there. The second form is
made of slices, whose gradients are. On the CPU the kernels are both fixed and faster.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from restore_sdk.degradations.borders import mirrored_by_slices
from restore_sdk.dip.presets import Upsampling


def mirrored(x: Tensor, margin: int) -> Tensor:
    """(N, C, H + 2 margin, W + 2 margin): mirrored about the outermost pixels. H and W must exceed the margin."""
    if margin == 0:
        return x
    if not x.is_cuda:
        return functional.pad(x, (margin,) * 4, mode="reflect")
    return mirrored_by_slices(mirrored_by_slices(x, margin, 2), margin, 3)


def doubled(x: Tensor, how: Upsampling) -> Tensor:
    """(N, C, 2 H, 2 W), as torch.nn.Upsample(scale_factor=2), corners not aligned."""
    if not x.is_cuda:
        corners = None if how == "nearest" else False
        return functional.interpolate(x, scale_factor=2, mode=how, align_corners=corners)
    return _doubled_nearest(x) if how == "nearest" else _doubled_axis(_doubled_axis(x, 2), 3)


def _doubled_nearest(x: Tensor) -> Tensor:
    count, channels, height, width = x.shape
    blocks = x[:, :, :, None, :, None].expand(count, channels, height, 2, width, 2)
    return blocks.reshape(count, channels, 2 * height, 2 * width)


def _doubled_axis(x: Tensor, axis: int) -> Tensor:
    """Each pixel becomes two, a quarter of the way to its neighbours; the outermost have themselves for a neighbour."""
    length = x.shape[axis]
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, length - 1)], axis)
    after = torch.cat([x.narrow(axis, 1, length - 1), x.narrow(axis, length - 1, 1)], axis)
    pairs = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
    return pairs.flatten(axis, axis + 1)
