"""Many images, lazily and in order; and one Restorer shared by several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from restore_sdk import Restorer

paths = sorted((Path(__file__).parent / "images").glob("*.png"))

with Restorer("denoise", channel_order="bgr") as restorer:
    one_by_one = list(restorer.restore_many(cv2.imread(str(path)) for path in paths))
    with ThreadPoolExecutor(max_workers=2) as pool:
        in_threads = list(pool.map(restorer, [cv2.imread(str(path)) for path in paths]))

assert len(one_by_one) == len(paths)
assert all(np.array_equal(first, second) for first, second in zip(one_by_one, in_threads, strict=True))
