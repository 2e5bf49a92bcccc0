"""A network in numpy that needs a halo, and what its model promises."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from restore_sdk.spec import ModelSpec

Batch = NDArray[np.float32]


def model(**changes: object) -> ModelSpec:
    known = {"size_multiple": 2, "receptive_radius": 1, "bytes_per_pixel": 1024.0}
    return ModelSpec(name="any", method="self_supervised", task="denoise", **{**known, **changes})  # type: ignore[arg-type]


def blur(batch: Batch) -> Batch:
    """R = 1, zero padding, unequal planes."""
    padded = np.pad(batch, ((0, 0), (0, 0), (1, 1), (1, 1)))
    mean = (padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:] + padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1]) * np.float32(
        0.25
    )
    return np.ascontiguousarray(mean * np.linspace(0.9, 1.2, batch.shape[1], dtype=np.float32)[:, None, None])
