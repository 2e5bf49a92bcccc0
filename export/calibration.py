"""Images on which a model's errors are measured: a folder's photographs, or, without one, textures made here."""

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
LOST = (0.5, 0.9, 0.95)  # shares of the pixels, for networks that fill them in; image k loses LOST[k % 3]
MOST_IMAGES = 6
MOST_LIGHT = 4.0  # of floats, white = 1: highlights may lie beyond it, 0 to 255 may not
LOSSES = "50, 90 and 95 % of the pixels lost"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})


@dataclass(frozen=True, slots=True)
class Calibration:
    """Images (1, C, side, side) float32, nominally in [0, 1], and where they come from."""

    images: tuple[FloatNCHW, ...]
    origin: str

    def seen_by(self, fill: float | None) -> Calibration:
        """As a network whose lost pixels hold `fill` is given them; others (None) see them as they are."""
        if fill is None:
            return self
        damaged = tuple(lossy(image, fill, number) for number, image in enumerate(self.images))
        return Calibration(damaged, f"{self.origin}, {LOSSES}")


def calibration(folder: Path | None, channels: int, side: int) -> Calibration:
    """Up to six squares of `side` pixels from the middle of a folder's images, or three textures. Images that are smaller are
    passed over, or, if all are, mirrored up to the size. Raises ExportError if the folder has no image."""
    if folder is None:
        images = tuple(texture(channels, side, side, sigma=sigma, seed=seed) for seed, sigma in enumerate(SIGMAS))
        return Calibration(images, "synthetic textures, sigma 0, 25 and 50")
    large, small = _by_size(folder, side)
    squares = tuple(with_noise(pixels, channels, side, side, number) for number, pixels in enumerate(large or small))
    if not squares:
        raise no_image(folder)
    mirrored = "" if large else ", mirrored"
    return Calibration(squares, f"{len(squares)} images of {folder.name}{mirrored}, sigma 0, 25 and 50")


def check_folder(folder: Path | None) -> None:
    """Raise ExportError now if `calibration` would fail later."""
    if folder is not None and not folder.is_dir():
        raise ExportError(f"the calibration folder {folder} is no folder", "pass a folder of images")
    if folder is not None and next(photographs(folder), None) is None:
        raise no_image(folder)


def no_image(folder: Path) -> ExportError:
    """Of a folder without one."""
    return ExportError(f"{folder} holds no readable image", "pass another --calibration folder, or none")


def texture(channels: int, height: int, width: int, *, sigma: float, seed: int) -> FloatNCHW:
    """(1, channels, height, width) float32: noise with the 1/f spectrum of photographs, hard edges, then white noise of
    `sigma` / 255. The same arguments give the same values."""
    random = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(random.standard_normal((channels, height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    clouds = np.fft.irfft2(spectrum / np.maximum(frequency, 1 / max(height, width)), s=(height, width))
    clouds = 0.5 + 0.15 * clouds / max(float(clouds.std()), 1e-12)
    clouds[:, : height // 2, width // 3 :] = 1 - clouds[:, : height // 2, width // 3 :]
    return np.asarray(noisy(np.clip(clouds, 0, 1), sigma, random)[None], np.float32)


def noisy(planes: NDArray[np.float64], sigma: float, random: np.random.Generator) -> NDArray[np.float64]:
    """`planes` and white Gaussian noise of `sigma` / 255; not clipped."""
    return planes + random.standard_normal(planes.shape) * (sigma / 255)


def with_losses(batch: FloatNCHW, fill: float, share: float, seed: int) -> FloatNCHW:
    """`batch`, whose pixels hold `fill` in all channels where they are lost: a `share` of them, at random places."""
    lost = np.random.default_rng(seed).random(batch.shape[2:]) < share
    return np.asarray(np.where(lost, np.float32(fill), batch), np.float32)


def lossy(batch: FloatNCHW, fill: float, number: int) -> FloatNCHW:
    """`with_losses` for image `number`: the shares of LOST take turns."""
    return with_losses(batch, fill, LOST[number % len(LOST)], number)


def photographs(folder: Path) -> Iterator[NDArray[Any]]:
    """Pixels of a folder's images, (H, W[, 3 or 4]), by name; files that are no image are passed over. Raises ExportError."""
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    except OSError as exc:
        raise ExportError(
            f"the calibration folder {folder} cannot be listed ({exc.strerror})", "pass a folder of images"
        ) from exc
    for file in files:
        try:
            pixels = read_image(file).pixels
        except ImageReadError:
            continue
        _check_range(file, pixels)
        yield pixels


def _check_range(file: Path, pixels: NDArray[Any]) -> None:
    """Floats have white at 1; what is far from that would be measured as if it were light."""
    if pixels.dtype.kind != "f":
        return
    low, high = float(pixels.min()), float(pixels.max())  # NaN if there is one
    if not -MOST_LIGHT <= low <= high <= MOST_LIGHT:
        raise ExportError(f"{file} has values of {low:g} to {high:g}, expected floats around 0 to 1", "scale it, or leave it out")


def planes_of(pixels: NDArray[Any], channels: int, height: int, width: int) -> NDArray[np.float64]:
    """(channels, height, width) in [0, 1] from the middle of larger (H, W) or (H, W, 3 or 4); gray is repeated, alpha dropped."""
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    middle = pixels[top : top + height, left : left + width]
    peak = float(np.iinfo(middle.dtype).max) if np.issubdtype(middle.dtype, np.integer) else 1.0
    planes = np.atleast_3d(middle).astype(np.float64)[..., :3].transpose(2, 0, 1) / peak
    return np.resize(planes, (channels, height, width)) if len(planes) < channels else planes[:channels]


def with_noise(pixels: NDArray[Any], channels: int, height: int, width: int, number: int) -> FloatNCHW:
    """(1, channels, height, width) float32 from the middle of image `number`, mirrored at the bottom and the right until it is
    that large, with that image's noise."""
    missing = [(0, max(0, wanted - side)) for wanted, side in zip((height, width), pixels.shape[:2], strict=True)]
    mirrored = np.pad(pixels, [*missing, *[(0, 0)] * (pixels.ndim - 2)], mode="symmetric")
    planes = planes_of(mirrored, channels, height, width)
    return np.asarray(noisy(planes, SIGMAS[number % len(SIGMAS)], np.random.default_rng(number))[None], np.float32)


def _by_size(folder: Path, side: int) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """(the first images that have `side` pixels a side or more, the first that have not)."""
    large, small = list[NDArray[Any]](), list[NDArray[Any]]()
    for pixels in photographs(folder):
        kind = large if min(pixels.shape[:2]) >= side else small
        if len(kind) < MOST_IMAGES:
            kind.append(pixels)
        if len(large) == MOST_IMAGES:
            break
    return large, small
