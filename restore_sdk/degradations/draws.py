"""Random numbers, all from one torch.Generator, so that a seed decides.

They are drawn on the generator's device in float32 and then moved: a generator on the CPU gives the same theta for images on any
device and of any dtype.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from restore_sdk.degradations.parameters import Range, limits

_UNIT = Range(0.0, 1.0)
_MOST_COUNTS = 1e9  # torch.poisson never returns from an infinite rate


def seeded(seed: int, *indices: int) -> torch.Generator:
    """A generator on the CPU that `seed` and `indices` (not negative) decide, unrelated for neighbouring numbers.

    seeded(seed, image) corrupts each image of a data set once and for all.
    """
    state = np.random.SeedSequence(seed, spawn_key=indices).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)  # manual_seed takes less than 2 ** 64; half of it is enough


def uniform(shape: tuple[int, ...], rng: torch.Generator, device: torch.device, span: float | Range = _UNIT) -> Tensor:
    """float32, uniform over `span`; a number stands for itself, and then nothing is drawn."""
    low, high = limits(span)
    if low == high:
        return torch.full(shape, low, device=device, dtype=torch.float32)
    drawn = torch.rand(shape, generator=rng, device=rng.device, dtype=torch.float32).to(device)
    return low + (high - low) * drawn


def integers(below: int, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """int64, uniform over 0 .. below - 1, on the generator's device."""
    return torch.randint(below, shape, generator=rng, device=rng.device)


def normal_like(y: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal numbers, of the shape, dtype and device of `y`."""
    return torch.randn(y.shape, generator=rng, device=rng.device, dtype=torch.float32).to(y.device, y.dtype)


def poisson(rate: Tensor, rng: torch.Generator) -> Tensor:
    """Poisson counts of the given rates, of the dtype and device of `rate`; a rate of NaN counts as 0, above 1e9 as 1e9."""
    finite = rate.detach().to(rng.device, torch.float32).nan_to_num(0.0).clamp(max=_MOST_COUNTS)
    counts = torch.poisson(finite, generator=rng)
    return counts.to(rate.device, rate.dtype)
