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
    """HxWx3 RGB at the file's own depth (8 or 16 bits), or None when OpenCV cannot read it."""
    content = np.fromfile(path, np.uint8)
    if content.size == 0:
        return None
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the count below is the report; OpenCV's own lines would repeat it
    try:
        image = cv2.imdecode(content, flags)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        return None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def load_folders(folders: Sequence[Path], *, min_side: int) -> Folder:
    """Decode all images at least `min_side` pixels on each side. Raises DataError when none is left."""
    found = Folder()
    for path in (path for folder in folders for path in find_images(folder)):
        image = decode(path)
        if image is None:
            found.unreadable.append(path)
        elif min(image.shape[:2]) < min_side:
            found.too_small.append(path)
        else:
            found.images.append(image)
            found.paths.append(path)
    if found.unreadable or found.too_small:
        logger.warning("skipped %d unreadable and %d too small images", len(found.unreadable), len(found.too_small))
    if not found.images:
        raise DataError(f"no usable image of at least {min_side} pixels a side below {', '.join(map(str, folders))}")
    return found
