"""Tiles save memory and change nothing: not one bit, whatever the size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from restore_sdk import Restorer, TileOptions

photo = cv2.imread(str(Path(__file__).parent / "images" / "noisy_photo.png"))
odd = photo[:211, :253]  # sides that no tile divides

with Restorer("denoise", channel_order="bgr") as restorer:
    whole = restorer.restore(odd, tile=None)
    seen: list[tuple[int, int]] = []
    tiled = restorer.restore(odd, tile=TileOptions(mode="exact", core=64), on_tile=lambda done, total: seen.append((done, total)))

print(f"{seen[-1][1]} tiles, {np.count_nonzero(tiled != whole)} values differ from the whole image")
assert seen[-1][1] > 1
assert np.array_equal(tiled, whole)
