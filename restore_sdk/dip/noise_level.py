"""How noisy an image is, from the image alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_NORMAL, _NORMAL_MEAN = 0.6744897501960817, math.sqrt(2 / math.pi)  # median and mean of |x| for a standard normal x
_TEXTURE = 0.75  # of the median of all: texture raises that by less, so what is below is the quietest part of uneven noise
_FEWEST = 64  # differences below which there is nothing to estimate from
_SIDE = 7  # pixels of a patch
_CENTRE = _SIDE // 2 - 1  # of the 2x2 pixels in the middle of a patch
_FLAT = 79.3  # 0.99997 quantile of a patch's gradient energy under white noise of variance 1: mean 35, variance 70.5
_ROUNDS, _SETTLED = 8, 1e-3
_BANDS = 3  # of brightness at most, as many patches in each: the noise of light grows with it
_BAND = 10_000  # patches that make a band: with fewer, too few of them are flat
_SAMPLE = 1 << 16  # patches whose brightness tells where bands begin
_CLIPPED = 1.55  # of a Gaussian that is cut off at one side with probability p, (1 - p)^1.55 of the variance is left, within 0.02


class NoiseLevel(NamedTuple):
    """`sigma`: standard deviation of the noise, root mean square over all values. `white`: whether it looks like white noise of
    that level everywhere: flat patches say so with their gradients too, and the others are not much noisier."""

    sigma: float
    white: bool


class _Patches(NamedTuple):
    """Of one channel, by the patch's first corner."""

    coefficients: Tensor  # of the 2x2 pixels in the middle, absolute
    energies: Tensor  # of the gradients
    brightness: Tensor
    left: Tensor  # share of the noise's variance that clipping has left
    known: Tensor
    whole: Tensor  # known, and nothing in it is clipped


def noise_level(image: Tensor, known: Tensor | None = None) -> NoiseLevel:
    """The noise in an image (C, H, W) of range [0, 1], in the image's units.

    Absolute diagonal Haar coefficients (Donoho and Johnstone 1994), from their median on, of those patches only whose gradients
    are no stronger than noise of that level makes them, until both agree (Liu, Tanaka and Okutomi 2013): texture would count as
    noise. Dark, middle and bright patches have levels of their own in images that are not small. Patches with a value at 0 or 1
    say nothing, since noise was cut off there; what they have less of it is reckoned in. known: (1, H, W) bool, True where a
    value was measured; what touches another is left out. 0 where fewer than 64 coefficients are left. Takes some 13 times the
    memory of a channel.
    """
    whole = torch.ones_like(image[:1], dtype=torch.bool) if known is None else known
    medians, squares, agreed = [], [], []
    for channel in image:  # one after the other, for memory
        coefficients = _coefficients(channel)
        medians.append(_median(coefficients, whole[0]))
        if medians[-1] > 0 and min(channel.shape) >= _SIDE:
            square, share = _of_bands(_patches(channel, coefficients, whole[0]), medians[-1])
            squares.append(square)
            agreed.append(share)
    if not squares:  # too small, or too little is known
        return NoiseLevel(min(medians), white=False)
    sigma, median = math.sqrt(sum(squares) / len(image)), math.sqrt(sum(value**2 for value in medians) / len(image))
    return NoiseLevel(sigma, white=2 * sum(agreed) > len(image) and sigma > _TEXTURE * median)


def _of_bands(patches: _Patches, median: float) -> tuple[float, float]:
    """Mean variance of a channel's noise, and the share of bands that agree with themselves. `median`: what stands for them where
    none does."""
    levels: list[float | None] = []
    weights = []
    for band in _bands(patches.brightness):
        weights.append(float((patches.left * (band & patches.known)).sum()))
        chosen = band & patches.whole
        levels.append(_of_flat_patches(patches.coefficients[chosen], patches.energies[chosen]))
    sound = [level**2 for level in levels if level is not None]
    if not sound:
        return median**2, 0.0
    other = sum(sound) / len(sound)
    total = sum(weight * (other if level is None else level**2) for weight, level in zip(weights, levels, strict=True))
    count = int(patches.known.sum())
    return total / count, len(sound) / len(levels)


def _of_flat_patches(coefficients: Tensor, energies: Tensor) -> float | None:
    """The level at which those patches that it explains have that very level, if there is one."""
    if len(coefficients) < _FEWEST:
        return None
    level = float(coefficients.median()) / _NORMAL
    for _ in range(_ROUNDS if level > 0 else 0):
        flat = coefficients[energies < _FLAT * level**2]
        if len(flat) < _FEWEST:
            return None
        before, level = level, float(flat.mean()) / _NORMAL_MEAN  # the median of bytes would come in steps
        if abs(before - level) <= _SETTLED * level:
            break
    return level


def _patches(channel: Tensor, coefficients: Tensor, known: Tensor) -> _Patches:
    height, width = (length - _SIDE + 1 for length in channel.shape)
    inside = slice(_CENTRE, _CENTRE + height), slice(_CENTRE, _CENTRE + width)
    clipped = (channel == 0) | (channel == 1)  # floats outside were not
    across, down = ((channel[:, 2:] - channel[:, :-2]) / 2).square_(), ((channel[2:] - channel[:-2]) / 2).square_()
    patch = _SIDE * _SIDE
    return _Patches(
        coefficients=coefficients[inside],
        energies=_sums(across, _SIDE, _SIDE - 2) + _sums(down, _SIDE - 2, _SIDE),
        brightness=_sums(channel, _SIDE, _SIDE) / patch,
        left=(1 - _sums(clipped.float(), _SIDE, _SIDE) / patch).clamp_(0, 1).pow_(_CLIPPED),
        known=known[inside],
        whole=_all_of(known & ~clipped, _SIDE),
    )


def _bands(brightness: Tensor) -> list[Tensor]:
    count = min(_BANDS, max(1, brightness.numel() // _BAND))
    sample = brightness.flatten()[:: max(1, brightness.numel() // _SAMPLE)]
    edges = [float(edge) for edge in torch.quantile(sample, torch.linspace(0, 1, count + 1, dtype=sample.dtype)[1:-1])]
    return [(brightness >= low) & (brightness < high) for low, high in zip([-math.inf, *edges], [*edges, math.inf], strict=True)]


def _median(coefficients: Tensor, known: Tensor) -> float:
    """The level by all coefficients, texture or not; 0 where there are too few."""
    if coefficients.numel() < _FEWEST:
        return 0.0
    chosen = coefficients[_all_of(known, 2)]
    return float(chosen.median()) / _NORMAL if len(chosen) >= _FEWEST else 0.0


def _coefficients(channel: Tensor) -> Tensor:
    """Absolute diagonal Haar coefficients, (H - 1, W - 1)."""
    corners = (slice(None, -1), slice(1, None))
    topleft, topright, lowleft, lowright = (channel[rows, columns] for rows in corners for columns in corners)
    return (topleft - topright - lowleft + lowright).abs_() / 2


def _all_of(wanted: Tensor, side: int) -> Tensor:
    """Where all values of a square are True, by its first corner."""
    return _sums(wanted.float(), side, side) > side * side - 0.5


def _sums(plane: Tensor, height: int, width: int) -> Tensor:
    """Of each window."""
    return functional.avg_pool2d(plane[None], (height, width), 1)[0] * (height * width)
