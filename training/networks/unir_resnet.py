"""The generator of UNIR's authors (Pajot et al., ICLR 2019, after SAGAN), for comparison: all at full resolution.

Its attention reads the whole image, and its map has (H W)^2 entries: 64 MiB at 64x64, 16 GiB at 256x256. Where their code
normalises attention over the wrong axis, this one gives each pixel weights that sum to 1.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

WIDTHS = (1, 16, 8, 4, 2, 1)  # of the blocks, in multiples of `width`; attention comes before the last
KEY_SHARE = 8  # attention compares with an eighth of the channels


class Attention(nn.Module):
    """x + gamma * attention over all pixels: (N, C, H, W) in and out; gamma, learnt, begins at 0 (Zhang et al., SAGAN, 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // KEY_SHARE
        self.query, self.key, self.value = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.out = nn.Conv2d(inner, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (project(x).flatten(2) for project in (self.query, self.key, self.value))
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=2)  # (N, H W, H W), each row sums to 1
        seen = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        attended: Tensor = self.out(seen)
        return x + self.gamma * attended


class NormBlock(nn.Module):
    """Twice batch norm, ReLU, convolution; a 1x1 convolution beside them where the number of channels changes."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first_norm = nn.BatchNorm2d(channels_in)
        self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(channels_out)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.beside = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        change = self.first(torch.relu(self.first_norm(x)))
        change = self.second(torch.relu(self.second_norm(change)))
        result: Tensor = self.beside(x) + change
        return result


class UnirResNet(nn.Module):
    """(N, channels, H, W) float in [0, 1] in and out, any H and W; tanh keeps the output in that range."""

    size_multiple = 1

    def __init__(self, channels: int = 3, width: int = 32, attention: bool = True) -> None:
        super().__init__()
        widths = [channels, *(width * factor for factor in WIDTHS)]
        blocks: list[nn.Module] = [NormBlock(*pair) for pair in pairwise(widths)]
        if attention:
            blocks.insert(-1, Attention(widths[-2]))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(width)
        self.tail = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, y: Tensor) -> Tensor:
        features = torch.relu(self.norm(self.blocks(2 * y - 1)))
        return (torch.tanh(self.tail(features)) + 1) / 2
