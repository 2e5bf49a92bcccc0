"""Any folder of images as RGB arrays: mixed sizes and formats, damaged files skipped and counted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".avif"})
logger = logging.getLogger(__name__)


class DataError(ValueError):
    """A data folder that is missing or holds too few usable images."""


@dataclass(slots=True)
class Folder:
    """Images of one or several folders: HxWx3 uint8 or uint16, RGB, in the order of their sorted paths."""

    images: list[NDArray[np.uint8 | np.uint16]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    too_small: list[Path] = field(default_factory=list)


def find_images(folder: Path) -> list[Path]:
    """Every file below `folder` with an image's suffix, sorted. Raises DataError when the folder is missing or has none."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; pass --data with a folder of images")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise DataError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))}); pass --data with a folder of images")
    return paths


def decode(path: Path) -> NDArray[np.uint8 | np.uint16] | None:
    """HxWx3 RGB at the file's own depth (8 or 16 bits), turned upright, alpha dropped; None when it cannot be read."""
    try:
        content = np.fromfile(path, np.uint8)
    except OSError:
        return None
    if content.size == 0:
        return None
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the count is the report, OpenCV's lines repeat it
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        return None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def load_folders(folders: Sequence[Path], *, min_side: int, max_bytes: int | None = None, bytes_per_value: int = 0) -> Folder:
    """Decode all images at least `min_side` pixels on each side.

    `bytes_per_value` is what the caller will keep beside each decoded value. Raises DataError when no image is left, and when
    they would take more than `max_bytes`.
    """
    found, taken = Folder(), 0
    for path in (path for folder in folders for path in find_images(folder)):
        image = decode(path)
        if image is None:
            found.unreadable.append(path)
        elif min(image.shape[:2]) < min_side:
            found.too_small.append(path)
        else:
            found.images.append(image)
            found.paths.append(path)
            taken += image.size * (image.itemsize + bytes_per_value)
            _check_memory(taken, max_bytes, len(found.images))
    if found.unreadable or found.too_small:
        logger.warning("skipped %d unreadable and %d too small images", len(found.unreadable), len(found.too_small))
    if not found.images:
        raise DataError(f"no usable image of at least {min_side} pixels a side below {', '.join(map(str, folders))}")
    return found


def split(count: int, every: int) -> tuple[list[int], list[int]]:
    """Indices for training and for validation: every `every`-th image is held out, at least one on each side; one image alone
    serves both, which is told."""
    if count == 1:
        logger.warning(
            "there is one usable image: it is both trained on and held out, so the scores do not say how others fare; pass more"
        )
    held_out = [index for index in range(count) if index % every == every - 1] or [count - 1]
    kept = [index for index in range(count) if index not in set(held_out)]
    return kept or held_out, held_out


def _check_memory(taken: int, most: int | None, count: int) -> None:
    if most is not None and taken > most:
        raise DataError(
            f"the first {count} images alone take {taken / 1e6:.0f} MB of memory, data.memory_mb allows {most / 1e6:.0f}; "
            "raise it, pass fewer or smaller images, or cut large ones into pieces"
        )
