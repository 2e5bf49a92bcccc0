"""The doctor's check that restoring works here, and that exact tiles are exact."""

from __future__ import annotations

import numpy as np

from restore_sdk.restorer import Restorer

SIZE, CORE = (160, 200), 64  # pixels
ROUNDING = {"torch": 1}  # steps of 8 bits; PyTorch picks a convolution by the size of its input


def tiles_equal_whole(model: str) -> bool:
    """Whether exact tiles and whole-image inference of `model` agree bit for bit on the CPU, or but for rounding where the
    backend promises no more. Raises what Restorer raises."""
    random = np.random.default_rng(0)
    ramp = np.linspace(60, 200, SIZE[1])[np.newaxis, :, np.newaxis]
    picture = np.clip(ramp + random.normal(0, 25, (*SIZE, 3)), 0, 255).astype(np.uint8)
    with Restorer(model, device="cpu") as restorer:
        whole, tiled = (restorer.restore(picture, tile=tile).astype(np.int16) for tile in (None, CORE))
        return bool(np.abs(whole - tiled).max() <= ROUNDING.get(str(restorer.report()["backend"]), 0))
