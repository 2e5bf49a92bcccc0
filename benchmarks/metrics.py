"""PSNR and SSIM as the restoration literature computes them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

Pixels = NDArray[np.float32]


def psnr(restored: Pixels, clean: Pixels) -> float:
    """10 log10(1 / MSE) in dB over all pixels and channels; both (H, W) or (H, W, 3) in [0, 1]. Infinite when equal."""
    if restored.shape != clean.shape:
        raise ValueError(f"restored has shape {restored.shape}, clean has {clean.shape}; compare images of one shape")
    error = float(np.mean(np.square(restored.astype(np.float64) - clean)))
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(restored: Pixels, clean: Pixels) -> float:
    """Mean SSIM (Wang et al., IEEE TIP 2004): Gaussian window of sigma 1.5, K1 0.01, K2 0.03, data range 1, population
    covariance; channels of a colour image are averaged."""
    channel_axis = 2 if clean.ndim == 3 else None
    return float(
        structural_similarity(
            restored,
            clean,
            data_range=1.0,
            channel_axis=channel_axis,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )
