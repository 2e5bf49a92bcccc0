"""The commonest image, in the fewest steps: a small one of three integer channels in red, green, blue order, all in one tile.

It gives the very values of read_tile() and write_tile(). These serve every layout and every part of an image; what they look at
on the way takes longer than converting a small image does.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import OptionsError
from restore_sdk.image.layout import FloatNCHW, Layout, to_depth


def planes_of(image: NDArray[Any], layout: Layout) -> FloatNCHW:
    """A plain image (Layout.is_plain) as new float32 (1, 3, H, W) planes in [0, 1]; any strides."""
    planes = np.empty((1, 3, layout.height, layout.width), np.float32)
    colours = planes[0]
    colours[...] = image.transpose(2, 0, 1)
    colours /= layout.scale
    return planes


def restored_of(planes: FloatNCHW, layout: Layout) -> NDArray[Any]:
    """A new plain image from float32 (1, 3, H, W), rounded half to even and limited to the range of its dtype. `planes` is not
    written to. Raises OptionsError for planes that are not three."""
    height, width = layout.height, layout.width
    if planes.shape[1] != 3:
        raise OptionsError("tile", planes.shape, f"3 planes of {height} x {width} pixels")
    rounded = to_depth(planes.reshape(3 * height, width), layout)  # one tall plane: a third of the calls
    restored: NDArray[Any] = np.empty(layout.shape, layout.dtype)
    cv2.merge(list(rounded.reshape(3, height, width)), restored)
    return restored
