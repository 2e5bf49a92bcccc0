"""The hourglass with skip connections, for one image or for several at once that know nothing of one another.

`copies` networks stand side by side as groups of channels: one grouped convolution does the work of all, and batch
normalisation, whose statistics are each channel's own, keeps them apart. The tensors are (1, copies * channels, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from restore_sdk.dip.presets import Preset
from restore_sdk.dip.resampling import doubled, mirrored

SLOPE = 0.2  # of the leaky rectifier for negative values


class SkipNetwork(nn.Module):
    """z -> image in (0, 1), for each copy. Height and width of z divide by preset.multiple."""

    def __init__(self, preset: Preset, channels: int = 3, copies: int = 1) -> None:
        super().__init__()
        self.copies = copies
        scales = list(zip(preset.down, preset.up, preset.skip, strict=True))
        inner: _Scale | None = None
        for depth in reversed(range(len(scales))):
            given = preset.input_depth if depth == 0 else scales[depth - 1][0]
            inner = _Scale(given, scales[depth], inner, preset, copies)
        self.scales = inner
        self.last = _Convolution(preset.up[0], channels, 1, copies)

    def forward(self, z: Tensor) -> Tensor:
        """(1, copies * input_depth, H, W) -> (1, copies * channels, H, W)."""
        return torch.sigmoid(self.last(self.scales(z)))  # type: ignore[misc]


class _Convolution(nn.Conv2d):
    """Grouped, with mirrored borders. A stride of 2 halves the sides; `averaged` does so by the mean instead."""

    def __init__(self, given: int, made: int, side: int, copies: int, *, stride: int = 1, averaged: bool = False) -> None:
        step = 1 if averaged else stride
        super().__init__(given * copies, made * copies, side, step, groups=copies)
        self.margin, self.mean = side // 2, stride if averaged else 1

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(mirrored(x, self.margin))
        return y if self.mean == 1 else functional.avg_pool2d(y, self.mean)


class _Block(nn.Module):
    """Convolution, normalisation by this image's own statistics, leaky rectifier."""

    def __init__(self, given: int, made: int, side: int, copies: int, *, stride: int = 1, averaged: bool = False) -> None:
        super().__init__()
        self.convolution = _Convolution(given, made, side, copies, stride=stride, averaged=averaged)
        self.normalisation = _normalisation(made * copies)

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.normalisation(self.convolution(x)), SLOPE)


class _Scale(nn.Module):
    """One scale and all those below it."""

    def __init__(self, given: int, channels: tuple[int, int, int], inner: _Scale | None, preset: Preset, copies: int) -> None:
        super().__init__()
        down, up, skip = channels
        side = preset.kernel_down
        self.copies, self.upsampling = copies, preset.upsampling
        self.skip = _Block(given, skip, 1, copies) if skip else None
        self.shrink = _Block(given, down, side, copies, stride=2, averaged=preset.averaged)
        self.deepen = _Block(down, down, side, copies)
        self.inner, self.made = inner, up
        joined = skip + (down if inner is None else inner.made)
        self.normalisation = _normalisation(joined * copies)
        self.merge = _Block(joined, up, 3, copies)
        self.pointwise = _Block(up, up, 1, copies) if preset.pointwise else None

    def forward(self, x: Tensor) -> Tensor:
        deep = self.deepen(self.shrink(x))
        deep = doubled(deep if self.inner is None else self.inner(deep), self.upsampling)
        joined = deep if self.skip is None else _joined(self.skip(x), deep, self.copies)
        merged = self.merge(self.normalisation(joined))
        return merged if self.pointwise is None else self.pointwise(merged)  # type: ignore[no-any-return]


def initialise(network: SkipNetwork, generators: Sequence[torch.Generator]) -> None:
    """PyTorch's own initialisation, drawn for each copy from its generator (on the CPU): the global one is left alone."""
    for module in network.modules():
        if isinstance(module, _Convolution):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for value in (module.weight, module.bias):
                _fill_uniform(value, bound, generators)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def build(preset: Preset, channels: int, generators: Sequence[torch.Generator], device: torch.device) -> SkipNetwork:
    """A network with one copy for each generator, on `device`."""
    with torch.device("meta"):  # no values yet: making them would draw from the global generator
        network = SkipNetwork(preset, channels, len(generators))
    network = network.to_empty(device=device).float()  # whatever PyTorch's default is
    initialise(network, generators)
    return network


def parameter_count(network: nn.Module) -> int:
    """Trainable numbers."""
    return sum(value.numel() for value in network.parameters())


def _fill_uniform(value: Tensor | None, bound: float, generators: Sequence[torch.Generator]) -> None:
    if value is None:
        return
    shares = value.detach().chunk(len(generators))
    for share, generator in zip(shares, generators, strict=True):
        share.copy_((2 * torch.rand(share.shape, generator=generator, dtype=torch.float32) - 1) * bound)


def _normalisation(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, track_running_stats=False)  # running statistics destroy the result


def _joined(skip: Tensor, deep: Tensor, copies: int) -> Tensor:
    """Both side by side within each copy."""
    if copies == 1:
        return torch.cat([skip, deep], 1)
    height, width = skip.shape[2:]
    parts = [part.view(copies, -1, height, width) for part in (skip, deep)]
    return torch.cat(parts, 1).view(1, -1, height, width)
