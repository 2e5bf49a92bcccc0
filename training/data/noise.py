"""Frozen noise: every image is observed once, under one noise realisation that its index decides.

A network that only ever sees these observations has seen no clean pixel. (Reference codes that redraw the noise from clean images
at each step average it away over epochs; `redraw` reproduces that for comparison and is written on the model's card.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]


def as_planes(image: NDArray[np.uint8 | np.uint16]) -> Planes:
    """HxWx3 integers to (3, H, W) float32 in [0, 1]."""
    scale = np.float32(1.0 / np.iinfo(image.dtype).max)
    return np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) * scale


def observe(
    image: NDArray[np.uint8 | np.uint16], seed: int, index: int, sigma_range: tuple[float, float]
) -> tuple[Planes, float]:
    """The one noisy observation of image `index`, (3, H, W) float32, not clipped, and its sigma in units of [0, 1], which is
    uniform over `sigma_range` (units of 1/255). Same seed and index, same bits."""
    generator = np.random.default_rng([seed, index])
    sigma = float(generator.uniform(*sigma_range)) / 255.0
    clean = as_planes(image)
    return clean + np.float32(sigma) * generator.standard_normal(clean.shape, dtype=np.float32), sigma


def estimate_sigma(planes: Planes) -> float:
    """Noise level of a measured image, (C, H, W): median absolute deviation of the finest diagonal Haar coefficients / 0.6745
    (Donoho and Johnstone, Biometrika 1994), averaged over planes. Assumes white Gaussian noise."""
    height, width = (side // 2 * 2 for side in planes.shape[1:])
    even = planes[:, :height, :width]
    diagonal = (even[:, ::2, ::2] - even[:, 1::2, ::2] - even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 2
    return float(np.mean(np.median(np.abs(diagonal), axis=(1, 2))) / 0.6745)
