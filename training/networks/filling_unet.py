"""Residual U-Net that sees which pixels are lost, because they all have one value, and fills them in.

No normalisation, attention or pooling reads the whole image, so a tile with enough context gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.networks.unet import Level, conv3x3

LOST_WITHIN = 1 / 400  # of the fill: more than rounding it to 8 bits costs, less than the step of 8 bits to the next value


def lost_values(y: Tensor, fill: float, *, whole_pixels: bool = False) -> Tensor:
    """Which values of `y`, (N, C, H, W), are lost: bool, its shape, True where it is `fill`; with `whole_pixels` where all C
    are."""
    apart = (y - fill).abs()
    if whole_pixels:
        apart = torch.cat([apart.amax(1, keepdim=True)] * y.shape[1], 1)
    return apart < LOST_WITHIN


class _Entrance(nn.Module):
    """(N, 2 C unshuffle^2, H / unshuffle, W / unshuffle): the values, and which are lost. A module, so that it can be half."""

    def __init__(self, unshuffle: int) -> None:
        super().__init__()
        self.unshuffle = unshuffle

    def forward(self, y: Tensor, lost: Tensor) -> Tensor:
        return nn.functional.pixel_unshuffle(torch.cat([y, lost.to(y.dtype)], 1), self.unshuffle)


class FillingUNet(nn.Module):
    """restored = y + f(y, lost).

    Input and output are (N, channels, H, W) float in [0, 1], H and W multiples of `size_multiple`; lost values are `fill` in the
    input. A measured value that happens to be `fill` counts as lost. `widths`, `blocks` and `unshuffle` as in ResidualUNet.
    keep_measured: measured values leave the network as they came; for corruptions that only lose values and add no noise.
    whole_pixels: pixels are lost in all channels alike, so that a pure red, whose green and blue are `fill`, was measured.
    """

    decides_in_float32 = True  # rounded to half, a value beside the threshold would change sides

    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = (64, 128),
        blocks: Sequence[int] = (1, 1),
        unshuffle: int = 2,
        *,
        fill: float = 0.0,
        keep_measured: bool = True,
        whole_pixels: bool = False,
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(f"widths={tuple(widths)} and blocks={tuple(blocks)} differ in length; give one of each per scale")
        self.unshuffle, self.fill = unshuffle, fill
        self.keep_measured, self.whole_pixels = keep_measured, whole_pixels
        self.size_multiple = unshuffle * 2 ** (len(widths) - 1)
        self.entrance = _Entrance(unshuffle)
        self.head = conv3x3(2 * channels * unshuffle**2, widths[0])
        self.body = Level(widths, blocks)
        self.tail = conv3x3(widths[0], channels * unshuffle**2)

    def forward(self, y: Tensor) -> Tensor:
        lost = lost_values(y, self.fill, whole_pixels=self.whole_pixels)
        features = self.body(self.head(self.entrance(y - self.fill, lost)))
        restored = y + nn.functional.pixel_shuffle(self.tail(features), self.unshuffle)
        return torch.where(lost, restored, y) if self.keep_measured else restored
