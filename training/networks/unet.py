"""Bias-free residual U-Net: exact to tile, safe in FP16, equivariant to scale.

No bias and only ReLU between convolutions make f(a * y) = a * f(y) for every a > 0, so one network serves every
exposure and noise level (Mohan et al., "Robust and interpretable blind image denoising via bias-free CNNs", ICLR 2020).
No normalisation, attention or pooling reads the whole image, so a tile with enough context gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def conv3x3(channels_in: int, channels_out: int) -> nn.Conv2d:
    """A bias-free 3x3 convolution that keeps height and width (zero padding)."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)


class ResidualBlock(nn.Module):
    """x + conv3x3(relu(conv3x3(x))): (N, C, H, W) in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv3x3(channels, channels)
        self.second = conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(torch.relu(self.first(x)))
        return x + change


def chain(channels: int, count: int) -> nn.Sequential:
    """`count` residual blocks in a row."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


class Level(nn.Module):
    """One scale: residual blocks, then (unless it is the deepest) down, the next level, up, an additive skip, blocks."""

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        width, deepest = widths[0], len(widths) == 1
        self.encode = chain(width, blocks[0] * (2 if deepest else 1))
        self.inner: Level | None = None
        if not deepest:
            self.down = nn.Conv2d(width, widths[1], 2, stride=2, bias=False)
            self.inner = Level(widths[1:], blocks[1:])
            self.up = nn.Conv2d(widths[1], 4 * width, 1, bias=False)
            self.decode = chain(width, blocks[0])

    def forward(self, x: Tensor) -> Tensor:
        x = self.encode(x)
        if self.inner is None:
            return x
        deeper = self.up(self.inner(self.down(x)))
        decoded: Tensor = self.decode(x + nn.functional.pixel_shuffle(deeper, 2))
        return decoded


class ResidualUNet(nn.Module):
    """Blind denoiser: restored = y - f(y).

    Input and output are (N, channels, H, W) float, RGB in [0, 1] (noise may leave the range); H and W must be multiples
    of `size_multiple`. `widths` are the channels at each scale, `blocks` the residual blocks on each side of each scale
    (the deepest has twice as many, all in one chain); the first scale already works at 1 / `unshuffle` of the resolution,
    which is where plain convolutions are cheapest per pixel.
    """

    def __init__(
        self, channels: int = 3, widths: Sequence[int] = (64, 128), blocks: Sequence[int] = (1, 1), unshuffle: int = 2
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(f"widths={tuple(widths)} and blocks={tuple(blocks)} differ in length; give one of each per scale")
        self.unshuffle = unshuffle
        self.size_multiple = unshuffle * 2 ** (len(widths) - 1)
        self.head = conv3x3(channels * unshuffle**2, widths[0])
        self.body = Level(widths, blocks)
        self.tail = conv3x3(widths[0], channels * unshuffle**2)

    def forward(self, y: Tensor) -> Tensor:
        return y - self.computed(y)

    def computed(self, y: Tensor) -> Tensor:
        """f(y), of the shape of y."""
        features = self.head(nn.functional.pixel_unshuffle(y, self.unshuffle))
        return nn.functional.pixel_shuffle(self.tail(self.body(features)), self.unshuffle)


class DirectUNet(ResidualUNet):
    """restored = f(y), with f = 0 before training: no way around the network, for what is learnt from measurements alone.

    A blur hides some frequencies of the image from every term that measures again. Were the input added, its noise at those
    frequencies would stay in the image, unseen; here it enters only if it is asked for. Arguments, input and output as of
    ResidualUNet.
    """

    def __init__(
        self, channels: int = 3, widths: Sequence[int] = (64, 128), blocks: Sequence[int] = (1, 1), unshuffle: int = 2
    ) -> None:
        super().__init__(channels, widths, blocks, unshuffle)
        nn.init.zeros_(self.tail.weight)

    def forward(self, y: Tensor) -> Tensor:
        return self.computed(y)
