"""The commonest image, in the fewest steps: a small one of three integer channels in red, green, blue order, all in one tile.

It gives the very values of read_tile() and write_tile(). These serve every layout and every part of an image; what they look at
on the way takes longer than converting a small image does. Nearly all is done by five functions of OpenCV: after the network has
run, each function of any library that is called for the first time costs 15 to 50 microseconds, whatever it has to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_sdk.image.layout import FloatNCHW, Layout, to_depth, wrong_planes

_UNITS = np.arange(256, dtype=np.float32) / np.float32(255)  # of each byte, correctly rounded
_look_up, _to_blob, _split, _merge = cv2.LUT, cv2.dnn.blobFromImage, cv2.split, cv2.merge  # found here, not on each call
_BYTE = cv2.CV_8U


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
    written to. Raises BackendError for planes that are not three."""
    if planes.shape[1] != 3:
        raise wrong_planes(planes.shape, "3 planes of", (layout.height, layout.width))
    return _interleaved(planes, layout.scale, layout.depth)


def bytes_of_planes(planes: FloatNCHW) -> NDArray[np.uint8]:
    """The same for bytes, and planes that are known to be three."""
    return _interleaved(planes, 255, _BYTE)


def _interleaved(planes: FloatNCHW, scale: int, depth: int) -> NDArray[Any]:
    _, _, height, width = planes.shape
    tall = to_depth(planes.reshape(-1, width), scale, depth)  # two axes: OpenCV would take a short third one for channels
    merged: NDArray[Any] = _merge((tall[:height], tall[height : 2 * height], tall[2 * height :]))
    return merged


class BoundBytes:
    """The same in both directions between arrays that stay where they are. One thread at a time.

    given, restored  C-contiguous float32 (1, 3, H, W): what `run` reads and what it writes
    """

    __slots__ = ("_bytes", "_channels", "_given", "_run", "_tall")

    def __init__(self, given: FloatNCHW, restored: FloatNCHW, run: Callable[[], None]) -> None:
        _, _, height, width = restored.shape
        self._run, self._given, self._tall = run, list(given[0]), restored.reshape(-1, width)
        self._bytes = np.empty((3 * height, width), np.uint8)
        self._channels = tuple(self._bytes.reshape(3, height, width))

    def restored(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A new image; `image` has the arrays' height and width, and any strides. Raises what `run` raises."""
        _split(_look_up(image, _UNITS), self._given)
        self._run()
        to_depth(self._tall, 255, _BYTE, self._tall, self._bytes)
        return _merge(self._channels)  # type: ignore[return-value]  # typed as any array
