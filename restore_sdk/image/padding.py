"""Padding at the bottom and right border up to the network's multiple: reflection without repeating the border pixel.

The definition is np.pad(mode="reflect"), also called reflect-101: a b c d -> a b c d | c b a b c d c ...
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def reflected_indices(length: int, stop: int) -> NDArray[np.intp]:
    """The pixels of [0, length) that positions length ... stop - 1 show."""
    period = max(1, 2 * (length - 1))
    position = np.arange(length, stop, dtype=np.intp) % period
    return np.minimum(position, period - position)


def first_source(start: int, stop: int, length: int) -> int:
    """The first pixel of [0, length) that a tile over positions start ... stop - 1 needs; before `start` where the tile has
    fewer true pixels than the reflection reads back."""
    beyond = stop - length
    return start if beyond <= 0 else max(0, min(start, length - 1 - beyond))


def reflect_border(planes: NDArray[Any], height: int, width: int) -> None:
    """Fill (..., H, W) in place below row `height` and right of column `width` from its top left (..., height, width)."""
    if width < planes.shape[-1]:
        planes[..., :height, width:] = planes[..., :height, reflected_indices(width, planes.shape[-1])]
    if height < planes.shape[-2]:
        planes[..., height:, :] = planes[..., reflected_indices(height, planes.shape[-2]), :]
