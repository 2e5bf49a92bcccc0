"""Images on which a halo's error is measured: a folder's photographs, or, without one, textures made here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import ExportError
from restore_sdk.backends.base import FloatNCHW
from restore_sdk.errors import ImageReadError
from restore_sdk.image.files import read_image

SIGMAS = (0, 25, 50)  # of the noise added, in 1/255; image k gets SIGMAS[k % 3]
MOST_IMAGES = 6
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})


@dataclass(frozen=True, slots=True)
class Calibration:
    """Images (1, C, side, side) float32, nominally in [0, 1], and where they come from."""

    images: tuple[FloatNCHW, ...]
    origin: str


def calibration(folder: Path | None, channels: int, side: int) -> Calibration:
    """Up to six squares of `side` pixels from the middle of a folder's images, or three textures. Raises ExportError if the
    folder has no image that large."""
    if folder is None:
        images = tuple(texture(channels, side, side, sigma=sigma, seed=seed) for seed, sigma in enumerate(SIGMAS))
        return Calibration(images, "synthetic textures, sigma 0, 25 and 50")
    squares = [square for square, _ in zip(_squares(folder, channels, side), range(MOST_IMAGES), strict=False)]
    if not squares:
        raise ExportError(
            f"{folder} holds no readable image of {side} x {side} pixels", "pass another --calibration folder, or none"
        )
    return Calibration(tuple(squares), f"{len(squares)} images of {folder.name}, sigma 0, 25 and 50")


def check_folder(folder: Path | None) -> None:
    """Raise ExportError now if `calibration` would fail later for want of a folder."""
    if folder is not None and not folder.is_dir():
        raise ExportError(f"the calibration folder {folder} is no folder", "pass a folder of images")


def texture(channels: int, height: int, width: int, *, sigma: float, seed: int) -> FloatNCHW:
    """(1, channels, height, width) float32: noise with the 1/f spectrum of photographs, hard edges, then white noise of
    `sigma` / 255. The same arguments give the same values."""
    random = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(random.standard_normal((channels, height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    clouds = np.fft.irfft2(spectrum / np.maximum(frequency, 1 / max(height, width)), s=(height, width))
    clouds = 0.5 + 0.15 * clouds / max(float(clouds.std()), 1e-12)
    clouds[:, : height // 2, width // 3 :] = 1 - clouds[:, : height // 2, width // 3 :]
    return np.asarray(_noisy(np.clip(clouds, 0, 1), sigma, random)[None], np.float32)


def _noisy(planes: NDArray[np.float64], sigma: float, random: np.random.Generator) -> NDArray[np.float64]:
    return planes + random.standard_normal(planes.shape) * (sigma / 255)


def _squares(folder: Path, channels: int, side: int) -> Iterator[FloatNCHW]:
    """Files that are no image, or too small, are passed over."""
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    except OSError as exc:
        raise ExportError(
            f"the calibration folder {folder} cannot be listed ({exc.strerror})", "pass a folder of images"
        ) from exc
    used = 0
    for file in files:
        try:
            pixels = read_image(file).pixels
        except ImageReadError:
            continue
        if min(pixels.shape[:2]) < side:
            continue
        planes = _planes(pixels, channels, side)
        yield np.asarray(_noisy(planes, SIGMAS[used % len(SIGMAS)], np.random.default_rng(used))[None], np.float32)
        used += 1


def _planes(pixels: NDArray[Any], channels: int, side: int) -> NDArray[np.float64]:
    """(channels, side, side) in [0, 1] from the middle of (H, W) or (H, W, 3 or 4); gray is repeated, alpha dropped."""
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    square = pixels[top : top + side, left : left + side]
    peak = float(np.iinfo(square.dtype).max) if np.issubdtype(square.dtype, np.integer) else 1.0
    planes = np.atleast_3d(square).astype(np.float64)[..., :3].transpose(2, 0, 1) / peak
    return np.resize(planes, (channels, side, side)) if len(planes) < channels else planes[:channels]
