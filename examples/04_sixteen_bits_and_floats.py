"""Every dtype comes back as it went in, without a detour over 8 bits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from restore_sdk import Restorer

clean = cv2.imread(str(Path(__file__).parent / "images" / "coffee.png")).astype(np.float32) / 255
noisy = clean + np.random.default_rng(7).normal(0, 25 / 255, clean.shape).astype(np.float32)  # leaves [0, 1], as noise does

with Restorer("denoise", channel_order="bgr", clip=False) as restorer:
    floats = restorer(noisy)
    deep = restorer(np.rint(np.clip(noisy, 0, 1) * 65535).astype(np.uint16))

assert floats.dtype == np.float32
assert deep.dtype == np.uint16
assert np.square(floats - clean).mean() < np.square(noisy - clean).mean()
