"""Denoisers that need no training, as people call them today. Each gets the true noise level, which favours it.

The strength of each, as a multiple of sigma, is the best mean over sigma 15, 25 and 50 on six crops of BSDS500 train,
never on a test set; the README lists what was tried.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet

Pixels = NDArray[np.float32]
Denoiser = Callable[[Pixels, float], Pixels]  # (H, W) or (H, W, 3) in [0, 1] and sigma on the 0-255 scale

OPENCV_STRENGTH = 0.7  # h / sigma
NL_MEANS_STRENGTH = 0.6  # h / sigma
TV_STRENGTH = 0.9  # weight / sigma


def opencv_nl_means(noisy: Pixels, sigma: float) -> Pixels:
    """Non-local means of OpenCV, which takes 8 bits only: the input is clipped and rounded for it."""
    pixels = np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8)
    strength = OPENCV_STRENGTH * sigma
    if noisy.ndim == 2:
        return np.asarray(cv2.fastNlMeansDenoising(pixels, None, h=strength), np.float32) / np.float32(255)
    blue_first = np.ascontiguousarray(pixels[..., ::-1])  # it takes BGR apart into lightness and colour
    restored = cv2.fastNlMeansDenoisingColored(blue_first, None, h=strength, hColor=strength)
    return np.asarray(restored, np.float32)[..., ::-1] / np.float32(255)


def nl_means(noisy: Pixels, sigma: float) -> Pixels:
    """Non-local means of scikit-image with the noise level subtracted from patch distances; 5x5 patches, 13x13 windows."""
    level = sigma / 255
    strength = NL_MEANS_STRENGTH * level
    return _float(
        denoise_nl_means(
            noisy, patch_size=5, patch_distance=6, h=strength, sigma=level, fast_mode=True, channel_axis=_channels(noisy)
        )
    )


def wavelet(noisy: Pixels, sigma: float) -> Pixels:
    """BayesShrink in YCbCr (scikit-image; needs PyWavelets)."""
    colour = noisy.ndim == 3
    return _float(
        denoise_wavelet(noisy, sigma=sigma / 255, convert2ycbcr=colour, channel_axis=_channels(noisy), rescale_sigma=True)
    )


def total_variation(noisy: Pixels, sigma: float) -> Pixels:
    """Total variation by Chambolle's algorithm (scikit-image)."""
    return _float(denoise_tv_chambolle(noisy, weight=TV_STRENGTH * sigma / 255, channel_axis=_channels(noisy)))


def block_matching(noisy: Pixels, sigma: float) -> Pixels:
    """BM3D / CBM3D of its authors (package bm3d; free for non-commercial use only, so it is never installed for you)."""
    bm3d = importlib.import_module("bm3d")
    run = bm3d.bm3d if noisy.ndim == 2 else bm3d.bm3d_rgb
    return _float(run(noisy, sigma / 255))


# name -> function, and the module it needs beyond those of the extra [dev]
BASELINES: Mapping[str, tuple[Denoiser, str]] = {
    "opencv nl-means": (opencv_nl_means, "cv2"),
    "skimage nl-means": (nl_means, "skimage"),
    "skimage wavelet": (wavelet, "pywt"),
    "skimage tv": (total_variation, "skimage"),
    "bm3d": (block_matching, "bm3d"),
}


def available_baselines() -> dict[str, Denoiser]:
    """The baselines whose modules are installed."""
    return {name: run for name, (run, module) in BASELINES.items() if importlib.util.find_spec(module) is not None}


def missing_baselines() -> dict[str, str]:
    """The others, and the module each of them needs."""
    return {name: module for name, (_, module) in BASELINES.items() if importlib.util.find_spec(module) is None}


def _channels(image: Pixels) -> int | None:
    return 2 if image.ndim == 3 else None


def _float(restored: object) -> Pixels:
    return np.clip(np.asarray(restored, np.float32), 0, 1)
