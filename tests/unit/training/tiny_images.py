"""Images so small and smooth that a network of a few thousand weights can clean them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def smooth_image(seed: int, height: int = 40, width: int = 48) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 without fine detail: 5x5 random colours, enlarged."""
    colours = np.random.default_rng(seed).integers(40, 215, (5, 5, 3), np.uint8)
    return np.asarray(cv2.resize(colours, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
