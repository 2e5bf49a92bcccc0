"""OpenCV's images are blue, green, red: say so, and the result is the same picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from restore_sdk import Restorer

bgr = cv2.imread(str(Path(__file__).parent / "images" / "noisy_photo.png"))

with Restorer("denoise") as restorer:
    from_bgr = restorer.restore(bgr, channel_order="bgr")
    from_rgb = restorer.restore(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))

assert from_bgr.shape == bgr.shape
assert np.array_equal(from_bgr, cv2.cvtColor(from_rgb, cv2.COLOR_RGB2BGR))
