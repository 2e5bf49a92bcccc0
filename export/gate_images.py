"""What FP16 is tried on: real images at several shapes, and the extremes, where values grow largest or vanish."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.calibration import LOSSES, SIGMAS, lossy, no_image, noisy, photographs, texture, with_noise
from export.verify import Shape, shapes
from restore_sdk.backends.base import FloatNCHW

EXAMPLES = Path(__file__).parents[1] / "examples" / "images"
TRIED = ("minimum", "odd", "large")  # shapes
BRIGHT_SIGMA = 75  # of the noise on white, in 1/255; about a tenth of the values lie beyond 1.4


@dataclass(frozen=True, slots=True)
class GateImage:
    """One batch (1, C, H, W) float32, and what is on it."""

    label: str
    batch: FloatNCHW
    is_large: bool = False


@dataclass(frozen=True, slots=True)
class GateImages:
    """The batches, and where the pictures come from."""

    images: tuple[GateImage, ...]
    origin: str


def gate_images(folder: Path | None, channels: int, size_multiple: int, fill: float | None = None) -> GateImages:
    """Three images, with noise of sigma 0, 25 and 50, at three shapes each; all white, white with noise beyond 1, all black.

    The images are those of `folder`; of the repository's examples if it is None; textures where there are neither. A small
    image is mirrored up to the shape. A network whose lost pixels hold `fill` is given the nine also with such.
    Raises ExportError if `folder` holds no readable image.
    """
    sizes = shapes(channels, size_multiple)
    pictures, origin = _pictures(folder)
    tried = [
        GateImage(f"{name}, image {number + 1}", batch, name == "large")
        for name in TRIED
        for number, batch in _real(pictures, sizes[name])
    ]
    if fill is None:
        return GateImages((*_extremes(sizes["odd"]), *tried), origin)
    damaged = [
        GateImage(f"{image.label}, pixels lost", lossy(image.batch, fill, number), image.is_large)
        for number, image in enumerate(tried)
    ]
    return GateImages((*_extremes(sizes["odd"]), *tried, *damaged), f"{origin}, whole and with {LOSSES}")


def _pictures(folder: Path | None) -> tuple[list[NDArray[Any]], str]:
    source = EXAMPLES if folder is None and EXAMPLES.is_dir() else folder
    if source is None:
        return [], "synthetic textures"
    found = [pixels for pixels, _ in zip(photographs(source), SIGMAS, strict=False)]
    if not found:
        raise no_image(source)
    return found, f"{len(found)} images of {source.name}"


def _real(pictures: list[NDArray[Any]], shape: Shape) -> Iterator[tuple[int, FloatNCHW]]:
    _, channels, height, width = shape
    if not pictures:
        yield from ((seed, texture(channels, height, width, sigma=sigma, seed=seed)) for seed, sigma in enumerate(SIGMAS))
    for number, pixels in enumerate(pictures):
        yield number, with_noise(pixels, channels, height, width, number)


def _extremes(shape: Shape) -> Iterator[GateImage]:
    white = np.ones(shape, np.float32)
    bright = noisy(white[0].astype(np.float64), BRIGHT_SIGMA, np.random.default_rng(0))[None].astype(np.float32)
    yield GateImage("all white", white)
    yield GateImage("bright, beyond 1", bright)
    yield GateImage("all black", np.zeros(shape, np.float32))
