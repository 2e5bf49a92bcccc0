"""The commonest image, in the fewest steps: a small one of three integer channels in red, green, blue order, all in one tile.

It gives the very values of read_tile() and write_tile(). These serve every layout and every part of an image; what they look at
on the way takes longer than converting a small image does. Nearly all is done by five functions of OpenCV: after the network has
run, each function of any library that is called for the first time costs 15 to 30 microseconds, whatever it has to do.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import OptionsError
from restore_sdk.image.layout import FloatNCHW, Layout, to_depth

_UNITS = np.arange(256, dtype=np.float32) / np.float32(255)  # of each byte, correctly rounded
_look_up, _to_blob, _from_blob = cv2.LUT, cv2.dnn.blobFromImage, cv2.dnn.imagesFromBlob  # found here, not in cv2 on each call
_limit, _add, _UPPER = cv2.threshold, cv2.addWeighted, cv2.THRESH_TRUNC


def planes_of(image: NDArray[Any], layout: Layout) -> FloatNCHW:
    """A plain image (Layout.is_plain) as new float32 (1, 3, H, W) planes in [0, 1]; any strides."""
    if layout.scale == 255:
        return planes_of_bytes(image)
    planes = np.empty((1, 3, layout.height, layout.width), np.float32)
    colours = planes[0]
    colours[...] = image.transpose(2, 0, 1)
    colours /= layout.scale
    return planes


def planes_of_bytes(image: NDArray[np.uint8]) -> FloatNCHW:
    """The same for bytes."""
    return _to_blob(_look_up(image, _UNITS))  # type: ignore[return-value]  # typed as any array


def restored_of(planes: FloatNCHW, layout: Layout) -> NDArray[Any]:
    """A new plain image from float32 (1, 3, H, W), rounded half to even and limited to the range of its dtype. `planes` is not
    written to. Raises OptionsError for planes that are not three."""
    if planes.shape[1] != 3:
        raise OptionsError("tile", planes.shape, f"3 planes of {layout.height} x {layout.width} pixels")
    return to_depth(_from_blob(planes)[0], layout)  # type: ignore[arg-type]  # typed as any array


def bytes_of_planes(planes: FloatNCHW) -> NDArray[np.uint8]:
    """The same for bytes, and planes that are known to be three."""
    limited = _limit(_from_blob(planes)[0], 1.0, 0.0, _UPPER)[1]  # as in to_depth()
    return _add(limited, 255, limited, 0.0, 0.0, dtype=cv2.CV_8U)  # type: ignore[return-value]
