"""Every change of range or layout: operators know only (N, C, H, W) floats with black at 0 and white at 1.

The references work in [-1, 1] (UNIR, GANs) or in 0..255 (noise levels of the denoising literature).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_sdk.errors import ImageShapeError, ImageTypeError


def to_signed(x: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1]."""
    return x * 2 - 1


def from_signed(x: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1]."""
    return (x + 1) / 2


def std_from_signed(std: float) -> float:
    """A noise level of [-1, 1] values in units of [0, 1]: half of it."""
    return std / 2


def std_from_bytes(std: float) -> float:
    """A noise level of 0..255 values in units of [0, 1]."""
    return std / 255


def batch_from_image(image: NDArray[Any]) -> Tensor:
    """(H, W) or (H, W, C) of uint8, uint16 or floats -> (1, C, H, W) float32, white 1. Raises ImageShapeError, ImageTypeError."""
    if image.ndim not in (2, 3):
        raise ImageShapeError(image.shape, "(H, W) or (H, W, C)")
    if image.dtype not in (np.uint8, np.uint16) and image.dtype.kind != "f":
        raise ImageTypeError(str(image.dtype), "uint8, uint16 or floats in [0, 1]")
    white = 1.0 if image.dtype.kind == "f" else float(np.iinfo(image.dtype).max)
    planes = np.atleast_3d(image).transpose(2, 0, 1)
    return torch.from_numpy(np.divide(planes, white, dtype=np.float32))[None]


def image_from_batch(batch: Tensor, dtype: type[np.uint8 | np.uint16] | np.dtype[Any] = np.uint8) -> NDArray[Any]:
    """(1, C, H, W) floats -> (H, W) or (H, W, C) of `dtype`, uint8 or uint16; clipped, rounded half to even, NaN becomes 0."""
    white = np.iinfo(dtype).max
    planes = batch.detach()[0].to("cpu", torch.float64).nan_to_num(0.0).clamp(0, 1).mul(white).round().numpy()
    return np.ascontiguousarray((planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)).astype(dtype))
