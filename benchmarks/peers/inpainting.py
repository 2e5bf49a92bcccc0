"""OpenCV's inpainting on images of floats, each channel with its own mask."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]  # (H, W, C) in [0, 1]
Marked = NDArray[np.bool_]  # (H, W, C), True where the value is lost
RADIUS = 3  # pixels that a lost one is filled in from


def opencv_inpaint(method: int) -> Callable[[Pixels, Marked], Pixels]:
    """cv2.INPAINT_TELEA or cv2.INPAINT_NS. They take 8 bits: the input is clipped and rounded for them."""

    def run(corrupted: Pixels, lost: Marked) -> Pixels:
        given, holes = np.rint(np.clip(corrupted, 0, 1) * 255).astype(np.uint8), lost.astype(np.uint8) * 255
        planes = [cv2.inpaint(given[..., c].copy(), holes[..., c].copy(), RADIUS, method) for c in range(given.shape[2])]
        return np.stack(planes, 2).astype(np.float32) / np.float32(255)

    return run
