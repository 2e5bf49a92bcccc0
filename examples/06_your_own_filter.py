"""A Restorer around a filter of your own: state how far it reaches, and it is tiled exactly too. Needs no model, no runtime."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_sdk import FunctionBackend, ModelSpec, Restorer, TileOptions


def median_of_nine(batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median over 3x3 pixels of (N, C, H, W), zeros beyond the border."""
    padded = np.pad(batch, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.median(windows, axis=(4, 5)).astype(np.float32)


spec = ModelSpec(name="median", method="filter", task="denoise", receptive_radius=1)
noisy = cv2.imread(str(Path(__file__).parent / "images" / "noisy_photo.png"))

with Restorer(FunctionBackend(spec, median_of_nine)) as restorer:
    whole = restorer.restore(noisy, tile=None)
    tiled = restorer.restore(noisy, tile=TileOptions(core=64))

assert np.array_equal(tiled, whole)
