"""How noisy an image is, from the image alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_NORMAL = 0.6744897501960817  # median of |x| for a standard normal x
_FEWEST = 64  # differences below which there is nothing to estimate from
_SIDE = 7  # pixels of a patch
_CENTRE = _SIDE // 2 - 1  # of the 2x2 pixels in the middle of a patch
_FLAT = 79.3  # 0.99997 quantile of a patch's gradient energy under white noise of variance 1: mean 35, variance 70.5
_ROUNDS, _SETTLED = 8, 1e-3
_CLIPPED = 1.55  # of a Gaussian that is cut off at one side with probability p, (1 - p)^1.55 of the variance is left, within 0.02


def noise_level(image: Tensor, known: Tensor | None = None) -> float:
    """Standard deviation of the white noise in an image (C, H, W) of range [0, 1]: the root mean square over all values.

    The median of the absolute diagonal Haar coefficients over 0.6745 (Donoho and Johnstone 1994), of those patches only whose
    gradients are no stronger than noise of that level makes them, until both agree (Liu, Tanaka and Okutomi 2013): texture would
    count as noise. Patches with a value at 0 or 1 say nothing, since noise was cut off there; what they have less of it is then
    reckoned in. known: (1, H, W) bool, True where a value was measured; what touches another is left out. 0 where fewer than 64
    coefficients are left.
    """
    if min(image.shape[1:]) < 2:
        return 0.0
    squares = []
    for channel in image:  # one after the other: what this needs is a few times the size of one
        whole = torch.ones_like(channel, dtype=torch.bool) if known is None else known[0]
        clipped = (channel == 0) | (channel == 1)  # floats outside were not
        level = _channel_level(channel, whole, clipped)
        squares.append(level**2 * _left_by_clipping(clipped, whole))
    return math.sqrt(sum(squares) / len(squares))


def _channel_level(channel: Tensor, known: Tensor, clipped: Tensor) -> float:
    """Of the noise before it was clipped."""
    corners = (slice(None, -1), slice(1, None))
    topleft, topright, lowleft, lowright = (channel[rows, columns] for rows in corners for columns in corners)
    coefficients = (topleft - topright - lowleft + lowright).abs_() / 2
    usable = _all_of(known, 2)
    if int(usable.sum()) < _FEWEST:
        return 0.0
    level = float(coefficients[usable].median()) / _NORMAL
    if min(channel.shape) < _SIDE:
        return level
    patches = _all_of(known & ~clipped, _SIDE)
    centre = coefficients[_CENTRE : _CENTRE + patches.shape[0], _CENTRE : _CENTRE + patches.shape[1]][patches]
    return _of_flat_patches(centre, _gradient_energy(channel)[patches], level)


def _of_flat_patches(coefficients: Tensor, energies: Tensor, level: float) -> float:
    """The level at which those patches that it explains have that very level."""
    for _ in range(_ROUNDS):
        flat = coefficients[energies < _FLAT * level**2]
        if len(flat) < _FEWEST:
            break
        before, level = level, float(flat.median()) / _NORMAL
        if abs(level - before) <= _SETTLED * before:
            break
    return level


def _gradient_energy(channel: Tensor) -> Tensor:
    """Sum of the squared central differences inside each patch, (H - 6, W - 6)."""
    across = ((channel[:, 2:] - channel[:, :-2]) / 2).square_()
    down = ((channel[2:] - channel[:-2]) / 2).square_()
    return _sums(across, _SIDE, _SIDE - 2) + _sums(down, _SIDE - 2, _SIDE)


def _left_by_clipping(clipped: Tensor, known: Tensor) -> float:
    """The share of the noise's variance that clipping has left in the known values."""
    if not bool(known.any()):
        return 1.0
    share = functional.avg_pool2d(clipped.float()[None], _SIDE, 1, _SIDE // 2, count_include_pad=False)[0]
    return float((1 - share).clamp_(0, 1).pow_(_CLIPPED)[known].mean())


def _all_of(wanted: Tensor, side: int) -> Tensor:
    """Where all values of a square are True, by its first corner."""
    return _sums(wanted.float(), side, side) > side * side - 0.5


def _sums(plane: Tensor, height: int, width: int) -> Tensor:
    """Of each window."""
    return functional.avg_pool2d(plane[None], (height, width), 1)[0] * (height * width)
