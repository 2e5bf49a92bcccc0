"""What the network is given: a fixed z for each image, and fresh noise on it at each iteration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from restore_sdk.degradations import seeded
from restore_sdk.degradations.borders import extend
from restore_sdk.dip.presets import Preset

LARGEST_INPUT = 0.1  # of z, uniform from 0
_FIRST_STREAM, _NOISE_STREAM = 0, 2  # of the seed; 1 holds values out


def canvas(height: int, width: int, preset: Preset) -> tuple[int, int]:
    """The sides that the network works on: multiples of its total stride that hold the image, which is cut out of its output."""
    rows, columns = (max(preset.smallest_side, -(-side // preset.multiple) * preset.multiple) for side in (height, width))
    return rows, columns


def first_generators(seed: int, indices: Sequence[int]) -> list[torch.Generator]:
    """For weights and z of each image, on the CPU: the same on every device."""
    return [seeded(seed, _FIRST_STREAM, index) for index in indices]


class Inputs:
    """z of several images, (1, N * depth, H, W), and the noise on it.

    Each image has its own generator, so its numbers do not depend on which others are fitted beside it.
    """

    def __init__(
        self,
        preset: Preset,
        size: tuple[int, int],
        generators: Sequence[torch.Generator],
        *,
        seed: int,
        indices: Sequence[int],
        device: torch.device,
    ) -> None:
        drawn = [first_input(preset, size, generator) for generator in generators]
        self._fixed = torch.cat(drawn, 1).to(device)
        self._preset = preset
        seeds = [seeded(seed, _NOISE_STREAM, index).initial_seed() for index in indices]
        self._generators = [torch.Generator(device).manual_seed(number) for number in seeds]
        self.given = self._fixed.clone()  # one place in memory, as a captured step needs it

    def draw(self) -> None:
        """Fill `given` with z + noise."""
        if self._preset.input_noise:
            for share, generator in zip(self.given.chunk(len(self._generators), 1), self._generators, strict=True):
                share.normal_(0.0, self._preset.input_noise, generator=generator)
            self.given += self._fixed

    def half(self) -> Tensor:
        """`given` at half the resolution, mirrored on beyond its lower and right border up to what the network takes: z itself
        must be that of a fit without coarse iterations, from whose weights it may start and which may start from it."""
        small = functional.avg_pool2d(self.given, 2)
        height, width = small.shape[2:]
        rows, columns = canvas(height, width, self._preset)
        below, beside = rows - height, columns - width
        return extend(small, below, beside, "reflect")[:, :, below:, beside:]

    def keep(self, images: list[int]) -> None:
        """Forget the other images."""
        self._fixed = torch.cat([self._fixed.chunk(len(self._generators), 1)[image] for image in images], 1)
        self._generators = [self._generators[image] for image in images]
        self.given = self._fixed.clone()


def first_input(preset: Preset, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """z of one image, (1, depth, H, W)."""
    if preset.input_kind == "noise":
        return LARGEST_INPUT * torch.rand((1, preset.input_depth, *size), generator=generator, dtype=torch.float32)
    rows, columns = (torch.linspace(0, 1, side, dtype=torch.float32) for side in size)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"))[None]
