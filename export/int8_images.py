"""Real images for INT8: one half of a folder's sets the ranges, the other half measures what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.calibration import LOST, SIGMAS, noisy, photographs, planes_of, with_losses
from export.errors import ExportError
from export.stamp import fill_of
from restore_sdk.backends.base import FloatNCHW
from restore_sdk.spec import ModelSpec

MOST_IMAGES = 32  # of the folder, half of them for each purpose
SIDE = 256  # pixels of the input; smaller images are taken as they are
SMALLEST = 64
MEASURED_SIGMAS = (15, 25, 50)  # of the noise added, in 1/255: those that denoisers are compared at
WITHOUT_NOISE = frozenset({"super_resolve"})  # tasks


@dataclass(frozen=True, order=True, slots=True)
class Damage:
    """What a clean image has suffered when a network is given it: white noise of `sigma` / 255, a share `lost` of its pixels."""

    sigma: float = 0
    lost: float = 0

    def __str__(self) -> str:
        return f"{100 * self.lost:g} % lost pixels" if self.lost else f"sigma {self.sigma:g}"

    def as_json(self) -> dict[str, float]:
        return {"lost": self.lost} if self.lost else {"sigma": self.sigma}


INTACT = (Damage(),)
LOSSES = tuple(Damage(lost=share) for share in LOST)


@dataclass(frozen=True, slots=True)
class Pair:
    """What the network is given, (1, C, H, W) float32, and the clean image that it should answer with."""

    given: FloatNCHW
    clean: FloatNCHW
    damage: Damage


@dataclass(frozen=True, slots=True)
class Int8Images:
    """Batches that set the ranges, pairs that measure the loss, and where both come from."""

    calibrating: tuple[FloatNCHW, ...]
    held_out: tuple[Pair, ...]
    origin: str


def int8_images(folder: Path, spec: ModelSpec) -> Int8Images:
    """Every other image of `folder`, by name, for each purpose, so that none serves both.

    The middle of each, up to 256 pixels of the network's input a side; with noise of sigma 0, 25 and 50 in turn for the ranges,
    and of 15, 25 and 50 each for the loss (none for super-resolution). A network that fills pixels in is given images that have
    lost 50, 90 and 95 % of them instead, for both. Raises ExportError for fewer than two usable images.
    """
    large = (pixels for pixels in photographs(folder) if min(pixels.shape[:2]) >= SMALLEST * spec.scale)
    found = list(islice(large, MOST_IMAGES))
    _check_count(folder, len(found), SMALLEST * spec.scale)
    ranges, measured = _damages(spec)
    calibrating = tuple(_pair(pixels, spec, ranges[k % len(ranges)], k).given for k, pixels in enumerate(found[::2]))
    held_out = tuple(_pair(pixels, spec, damage, k) for k, pixels in enumerate(found[1::2]) for damage in measured)
    origin = f"{len(calibrating)} images of {folder.name}, measured on {len(found) - len(calibrating)} others"
    return Int8Images(calibrating, held_out, origin)


def check_images(folder: Path) -> None:
    """Raise ExportError now if `int8_images` would fail later, whatever the network."""
    large = (pixels for pixels in photographs(folder) if min(pixels.shape[:2]) >= SMALLEST)
    _check_count(folder, len(list(islice(large, 2))), SMALLEST)


def _check_count(folder: Path, found: int, side: int) -> None:
    if found < 2:
        found_so_many = f"{found} readable image{'' if found == 1 else 's'} of {side} pixels a side"
        raise ExportError(f"{folder} holds {found_so_many}, expected 2 or more", "pass another folder")


def _damages(spec: ModelSpec) -> tuple[tuple[Damage, ...], tuple[Damage, ...]]:
    """(for the ranges, for the loss)."""
    if fill_of(spec) is not None:
        return LOSSES, LOSSES
    if spec.task in WITHOUT_NOISE:
        return INTACT, INTACT
    return tuple(map(Damage, SIGMAS)), tuple(map(Damage, MEASURED_SIGMAS))


def _pair(pixels: NDArray[Any], spec: ModelSpec, damage: Damage, seed: int) -> Pair:
    scale, multiple = spec.scale, spec.size_multiple
    height, width = (max(1, min(SIDE, side // scale) // multiple) * multiple for side in pixels.shape[:2])
    clean = planes_of(pixels, spec.channels, height * scale, width * scale)
    small = clean.reshape(spec.channels, height, scale, width, scale).mean(axis=(2, 4))
    given = np.asarray(noisy(small, damage.sigma, np.random.default_rng(seed))[None], np.float32)
    fill = fill_of(spec)
    given = given if fill is None else with_losses(given, fill, damage.lost, seed)
    return Pair(given, np.asarray(clean[None], np.float32), damage)
