"""The doctor's check that restoring works here, and that exact tiles are exact."""

from __future__ import annotations

import numpy as np

from restore_sdk.backends.wishes import PLAN_SUFFIX
from restore_sdk.errors import OptionsError
from restore_sdk.options import is_dip
from restore_sdk.restorer import Restorer

SIZE, CORE = (160, 200), 64  # pixels
ROUNDING = {"torch": 1, "tensorrt": 1}  # steps of 8 bits; both pick their kernels by the size of the input


def tiles_equal_whole(model: str) -> bool:
    """Whether exact tiles and whole-image inference of `model` agree bit for bit on the CPU, or but for rounding where the
    backend promises no more. A TensorRT plan runs on its GPU. Raises what Restorer raises, and OptionsError for a per-image fit,
    which is no test of anything but patience."""
    if is_dip(model):
        raise OptionsError("model", model, "a trained model: this one is fitted to each image, which takes minutes")
    device = "auto" if model.lower().endswith(PLAN_SUFFIX) else "cpu"
    random = np.random.default_rng(0)
    ramp = np.linspace(60, 200, SIZE[1])[np.newaxis, :, np.newaxis]
    picture = np.clip(ramp + random.normal(0, 25, (*SIZE, 3)), 0, 255).astype(np.uint8)
    with Restorer(model, device=device) as restorer:
        whole, tiled = (restorer.restore(picture, tile=tile).astype(np.int16) for tile in (None, CORE))
        return bool(np.abs(whole - tiled).max() <= ROUNDING.get(str(restorer.report()["backend"]), 0))
