"""Pictures side by side, for the eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.images import BytePixels

JPEG_QUALITY = 88


def write_strip(path: Path, rows: Sequence[Sequence[BytePixels]], option: str) -> None:
    """(H, W, 3) RGB pictures of one size, row by row. `option` is what named the place, for the OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.vstack([np.hstack(row) for row in rows])
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), quality):
        raise OSError(f"cannot write {path.name} into {path.parent}; pass {option} with a place that can be written")
