"""Noise: apply() returns x, noise() does the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from restore_sdk.degradations.draws import normal_like, poisson, uniform
from restore_sdk.degradations.parameters import STRONGEST, Range, check_choice, check_number
from restore_sdk.degradations.pointwise import Unchanging

_DARKEST, _BRIGHTEST = 1e-6, 1e7  # counts; below there is no picture, above float32 cannot count


class PureNoise(Unchanging):
    """Base of operators that only add noise."""

    noisy: ClassVar[bool] = True


@dataclass(frozen=True)
class GaussianNoise(PureNoise):
    """White noise of standard deviation `sigma`, in units of [0, 1] (a number, or low..high for each image). Not clipped."""

    name: ClassVar[str] = "gaussian-noise"
    sigma: float | Range = 0.1

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma, 0, STRONGEST)

    def _noise(self, y: Tensor, rng: torch.Generator) -> Tensor:
        sigma = uniform((y.shape[0], 1, 1, 1), rng, y.device, self.sigma).to(y.dtype)
        return y + sigma * normal_like(y, rng)


@dataclass(frozen=True)
class PoissonNoise(PureNoise):
    """Counting noise: Poisson(peak * y) / peak, where white is `peak` counts; mean y, variance y / peak. Below 0 counts as 0.

    The gradient is that of the mean, 1 (straight through), and 0 where y is below 0.
    """

    name: ClassVar[str] = "poisson-noise"
    peak: float = 30.0

    def __post_init__(self) -> None:
        check_number("peak", self.peak, _DARKEST, _BRIGHTEST, "counts")

    def _noise(self, y: Tensor, rng: torch.Generator) -> Tensor:
        light = y.clamp(min=0)
        return light + (poisson(light * self.peak, rng) / self.peak - light).detach()


@dataclass(frozen=True)
class PoissonGaussianNoise(PureNoise):
    """Counting noise, then white noise of the electronics: variance y / peak + sigma ** 2 (Foi et al. 2008)."""

    name: ClassVar[str] = "poisson-gaussian-noise"
    peak: float = 30.0
    sigma: float = 0.05

    def __post_init__(self) -> None:
        check_number("peak", self.peak, _DARKEST, _BRIGHTEST, "counts")
        check_number("sigma", self.sigma, 0, STRONGEST)

    def _noise(self, y: Tensor, rng: torch.Generator) -> Tensor:
        return GaussianNoise(self.sigma).noise(PoissonNoise(self.peak).noise(y, rng), rng)


Impulse = Literal["salt-pepper", "uniform"]


@dataclass(frozen=True)
class ImpulseNoise(PureNoise):
    """Each pixel is replaced with probability `p`, all channels together: by black or white alike (salt-pepper), or by a random
    colour (uniform). Replaced pixels have gradient 0."""

    name: ClassVar[str] = "impulse-noise"
    p: float = 0.1
    kind: Impulse = "salt-pepper"

    def __post_init__(self) -> None:
        check_number("p", self.p, 0, 1)
        check_choice("kind", self.kind, get_args(Impulse))

    def _noise(self, y: Tensor, rng: torch.Generator) -> Tensor:
        count, channels, height, width = y.shape
        hit = uniform((count, 1, height, width), rng, y.device) < self.p
        planes = channels if self.kind == "uniform" else 1
        value = uniform((count, planes, height, width), rng, y.device)
        return torch.where(hit, (value if self.kind == "uniform" else value.round()).to(y.dtype), y)
