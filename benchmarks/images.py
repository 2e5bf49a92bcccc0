"""The images that are measured on: test sets of a data folder, and large photographs put together from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BytePixels = NDArray[np.uint8]
FloatPixels = NDArray[np.float32]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image file of a set. `index` is its place in the whole set: it seeds the noise. `noisy` holds real noise, if any."""

    index: int
    clean: Path | None
    noisy: Path | None = None


@dataclass(frozen=True, slots=True)
class ImageSet:
    """A test set. `noise`: "synthetic" is added here, "real" comes with a reference, "unreferenced" has none."""

    title: str
    noise: str
    find: Callable[[Path], list[Sample]]
    gray: bool = False


def _cbsd68(data: Path) -> list[Sample]:
    names = _read_lines(data / "cbsd68.txt")
    return [Sample(index, data / name) for index, name in enumerate(names)]


def _folder(name: str, pattern: str = "*") -> Callable[[Path], list[Sample]]:
    return lambda data: [Sample(index, path) for index, path in enumerate(sorted((data / name).glob(pattern)))]


def _polyu(data: Path) -> list[Sample]:
    noisy = sorted((data / "polyu_real_noise").glob("*_real.JPG"))
    return [Sample(index, path.with_name(path.name.replace("_real", "_mean")), path) for index, path in enumerate(noisy)]


def _rni15(data: Path) -> list[Sample]:
    return [Sample(index, None, path) for index, path in enumerate(sorted((data / "rni15").glob("*")))]


SETS: Mapping[str, ImageSet] = {
    "cbsd68": ImageSet("CBSD68 (colour, BSDS500 val)", "synthetic", _cbsd68),
    "kodak24": ImageSet("Kodak (colour)", "synthetic", _folder("kodak24", "*.png")),
    "set12": ImageSet("Set12 (gray)", "synthetic", _folder("set12", "*.png"), gray=True),
    "polyu": ImageSet("PolyU (real camera noise)", "real", _polyu),
    "rni15": ImageSet("RNI15 (real noise, no reference)", "unreferenced", _rni15),
}


def find_samples(name: str, data: Path) -> list[Sample]:
    """All samples of the set `name` under `data`; empty when the set, or any file of it, is not there."""
    samples = SETS[name].find(data)
    complete = all(path.is_file() for sample in samples for path in (sample.clean, sample.noisy) if path)
    return samples if complete else []


def evenly(items: Sequence[Item], limit: int | None) -> list[Item]:
    """At most `limit` items, spread evenly over the whole sequence; all of them for None."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]


def read_pixels(path: Path, *, gray: bool = False) -> BytePixels:
    """uint8 RGB (H, W, 3), or (H, W) for gray. Raises ValueError for a file that is no image."""
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{path.name} is not a readable image; fetch the data set again")
    return np.asarray(pixels if gray else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def as_bytes(pixels: FloatPixels) -> BytePixels:
    """[0, 1] as 0..255; what lies outside is clipped."""
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * 255), np.uint8)


def as_float(pixels: BytePixels) -> FloatPixels:
    """The same image in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)


def add_noise(clean: FloatPixels, sigma: float, seed: int) -> FloatPixels:
    """clean + N(0, (sigma / 255)^2) in float, not clipped; the draw depends on `seed` and the shape only."""
    return clean + np.random.default_rng(seed).standard_normal(clean.shape, np.float32) * np.float32(sigma / 255)


def photograph(height: int, width: int, data: Path | None = None, *, sigma: float = 15.0) -> BytePixels:
    """A noisy uint8 RGB image of any size: real photographs side by side, scaled to 512 rows; a smooth pattern without data."""
    blocks = [_noisy_block(block, sigma, seed) for seed, block in enumerate(_source_blocks(data or DEFAULT_DATA))]
    canvas = np.empty((height, width, 3), np.uint8)
    for number, top in enumerate(range(0, height, 512)):
        left = 0
        while left < width:
            block = blocks[(number * 5 + left // 512) % len(blocks)][: height - top, : width - left]
            canvas[top : top + block.shape[0], left : left + block.shape[1]] = block
            left += block.shape[1]
    return canvas


def _source_blocks(data: Path) -> list[BytePixels]:
    folders = [sorted((data / folder).glob("*.*g")) for folder in ("bsds500/val", "kodak24", "urban100")]
    found = [path for paths in folders for path in evenly(paths, 4)]
    return [_scaled(read_pixels(path)) for path in found] or [_pattern()]


def _scaled(pixels: BytePixels) -> BytePixels:
    width = round(512 * pixels.shape[1] / pixels.shape[0])
    return np.asarray(cv2.resize(pixels, (width, 512), interpolation=cv2.INTER_CUBIC), np.uint8)


def _pattern() -> BytePixels:
    rows, columns = np.mgrid[0:512, 0:768].astype(np.float32)
    waves = [np.sin(rows / 17 + phase) * np.cos(columns / 23 - phase) for phase in (0.0, 1.0, 2.0)]
    return (127 + 100 * np.stack(waves, axis=2)).astype(np.uint8)


def _noisy_block(block: BytePixels, sigma: float, seed: int) -> BytePixels:
    noisy = add_noise(as_float(block), sigma, seed)
    return as_bytes(noisy)


def _read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split() if path.is_file() else []
