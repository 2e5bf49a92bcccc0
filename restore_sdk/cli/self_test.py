"""The doctor's check that restoring works here, and that exact tiles are exact."""

from __future__ import annotations

import numpy as np

from restore_sdk.restorer import Restorer

SIZE, CORE = (160, 200), 64  # pixels


def tiles_equal_whole(model: str) -> bool:
    """Whether exact tiles and whole-image inference of `model` agree bit for bit on the CPU. Raises what Restorer raises."""
    random = np.random.default_rng(0)
    ramp = np.linspace(60, 200, SIZE[1])[np.newaxis, :, np.newaxis]
    picture = np.clip(ramp + random.normal(0, 25, (*SIZE, 3)), 0, 255).astype(np.uint8)
    with Restorer(model, device="cpu") as restorer:
        return np.array_equal(restorer.restore(picture, tile=None), restorer.restore(picture, tile=CORE))
