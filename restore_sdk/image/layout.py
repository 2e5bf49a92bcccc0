"""Image arrays as users have them, and the float planes that a network reads: one tile at a time, never the whole image.

An image is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, float16 or float32; 4 channels are colour and alpha.
1.0 in the planes stands for 255, 65535 or 1.0. Gray goes into a 3-channel network as three equal planes and comes back as
their mean. Alpha never reaches the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import BackendError, ImageShapeError, OptionsError
from restore_sdk.image.padding import first_source, reflect_border
from restore_sdk.image.validation import WHITE, check_array, check_count, check_dtype, check_finite, check_shape
from restore_sdk.options import ChannelOrder

FloatNCHW: TypeAlias = NDArray[np.float32]

_STRIP = 1 << 17  # pixels converted in one go, so that the intermediate values stay in the processor's cache
_SMALL = 1 << 16  # values; below it one strided division is faster than a division and a split
FLOAT16_LIMITS = (-65504.0, 65504.0)
_ORDERS = get_args(ChannelOrder)
_LAYOUTS_KEPT = 256
_limit, _add, _UPPER = cv2.threshold, cv2.addWeighted, cv2.THRESH_TRUNC  # found here, not in cv2 on each call


@dataclass(frozen=True, slots=True)
class Layout:
    """What an image array is. `channels` is 0 for (H, W); height and width in pixels."""

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    order: ChannelOrder = "rgb"
    shape: tuple[int, ...] = field(init=False, repr=False, compare=False)  # of the array, and of its result at scale 1
    has_alpha: bool = field(init=False, repr=False, compare=False)
    is_gray: bool = field(init=False, repr=False, compare=False)
    is_float: bool = field(init=False, repr=False, compare=False)
    is_plain: bool = field(init=False, repr=False, compare=False)  # small, three native integer channels, red first
    scale: int = field(init=False, repr=False, compare=False)  # the value that stands for 1.0: 255, 65535 or 1
    depth: int = field(init=False, repr=False, compare=False)  # OpenCV's name for an integer dtype

    def __post_init__(self) -> None:
        integer, small = self.dtype.kind == "u", self.height * self.width * 3 <= _SMALL
        for name, value in (
            ("shape", self.scaled_shape(1)),
            ("has_alpha", self.channels == 4),
            ("is_gray", self.channels < 3),
            ("is_float", not integer),
            ("is_plain", integer and small and self.channels == 3 and self.dtype.isnative and self.order == "rgb"),
            ("scale", WHITE[f"{self.dtype.kind}{self.dtype.itemsize}"]),
            ("depth", cv2.CV_8U if self.dtype.itemsize == 1 else cv2.CV_16U),
        ):
            object.__setattr__(self, name, value)

    def scaled_shape(self, scale: int) -> tuple[int, ...]:
        """Shape of the result when each pixel becomes scale x scale pixels."""
        sides = (self.height * scale, self.width * scale)
        return (*sides, self.channels) if self.channels else sides


def inspect(image: object, *, order: ChannelOrder = "rgb", min_size: int = 1) -> Layout:
    """Validate an image, which is neither copied nor written to; any strides and byte order, read-only too.

    order     of the colour channels: "rgb", or "bgr" as OpenCV has them
    min_size  the shortest side that the network restores, pixels

    Values of floats may leave [0, 1] (noise does). Raises ImageTypeError, ImageShapeError, ImageValueError (NaN, infinity),
    OptionsError.
    """
    if order not in _ORDERS:
        raise OptionsError("channel_order", order, "'rgb' or 'bgr'")
    pixels = image if type(image) is np.ndarray else check_array(image)
    layout = _layout(pixels.shape, pixels.dtype, order, min_size)
    if layout.is_float:
        check_finite(pixels)
    return layout


@lru_cache(_LAYOUTS_KEPT)  # on a small image, what is worked out here once more would take as long as its conversion
def _layout(shape: tuple[int, ...], dtype: np.dtype[Any], order: ChannelOrder, min_size: int) -> Layout:
    check_dtype(dtype)
    check_shape(shape, min_size)
    check_count(shape)
    return Layout(shape[0], shape[1], shape[2] if len(shape) == 3 else 0, dtype, order)


def read_tile(image: NDArray[Any], layout: Layout, rows: slice, columns: slice, *, channels: int = 3) -> FloatNCHW:
    """Pixels [rows, columns] as new C-contiguous float32 (1, channels, h, w) planes, red first, nominally in [0, 1].

    rows, columns  slices (start, stop; no step) in pixels of the padded image: what lies beyond the bottom and right border is
                   the whole image's reflection (np.pad "reflect"), whatever the tile
    channels       of the network: 3, or 1 (gray images only)

    Only these pixels are converted. Raises ImageShapeError for a colour image and a 1-channel network.
    """
    if channels != 3:
        check_channels(layout, channels)
    top = first_source(rows.start, rows.stop, layout.height)
    left = first_source(columns.start, columns.stop, layout.width)
    planes = np.empty((1, channels, rows.stop - top, columns.stop - left), np.float32)
    source = np.asarray(image[top : rows.stop, left : columns.stop])
    height, width = source.shape[:2]
    _to_planes(source, layout, planes[0, :, :height, :width])
    reflect_border(planes, height, width)
    return np.ascontiguousarray(planes[:, :, rows.start - top :, columns.start - left :])


def new_output(image: NDArray[Any], layout: Layout, *, scale: int = 1) -> NDArray[Any]:
    """An array for the result, (H * scale, W * scale[, C]) of the image's dtype; alpha is filled in, the rest is not yet."""
    output = np.empty(layout.scaled_shape(scale), layout.dtype)
    if layout.has_alpha:
        alpha = np.asarray(image[..., 3])
        output[..., 3] = alpha if scale == 1 else _enlarged(alpha, scale)
    return output


def write_tile(
    output: NDArray[Any], layout: Layout, rows: slice, columns: slice, tile: FloatNCHW, *, scale: int = 1, clip: bool = True
) -> None:
    """Convert `tile`, float32 (1, 3 or 1, h * scale, w * scale), into `output`, an array as new_output() makes it.

    rows, columns  where the tile lies: slices in pixels of the padded image before scaling; what lies beyond the true image is
                   dropped
    clip           limit floats to [0, 1]; float16 is always limited to what it can hold, integers to their range, and these
                   are rounded half to even (NaN becomes 0)

    `tile`, a network's result, is not written to. Raises BackendError where it does not fit its place.
    """
    target = output[rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale]
    height, width = target.shape[:2]
    planes = tile[0, :, :height, :width]
    if planes.shape != (3, height, width):
        _check_tile(planes, tile.shape, layout, target)
    if layout.is_gray:
        target = target.reshape(height, width, 1)
        planes = _mean(planes) if len(planes) == 3 else planes
    elif layout.order == "bgr":
        planes = planes[::-1]
    convert = _from_planes_to_floats if layout.is_float else _from_planes_to_integers
    for strip in _strips(*target.shape[:2]):
        convert(planes[:, strip], target[strip], layout, clip)


def check_channels(layout: Layout, channels: int) -> None:
    """Whether a network of so many channels takes the image. Raises OptionsError and ImageShapeError."""
    if channels not in (1, 3):
        raise OptionsError("channels", channels, "a network of 1 or 3 channels")
    if channels == 1 and not layout.is_gray:
        want = "a gray image (H, W) for a network of one channel"
        raise ImageShapeError(layout.shape, want, "convert it with cv2.cvtColor, or choose a model with three channels")


def wrong_planes(got: tuple[int, ...], want: str, size: tuple[int, ...]) -> BackendError:
    """Of a network's result that is no picture; `size` begins with height and width, pixels."""
    wanted = f"{want} {size[0]} x {size[1]} pixels"
    return BackendError(f"the network returned {got}, expected {wanted}; check channels and scale in its spec")


def _check_tile(planes: NDArray[np.float32], got: tuple[int, ...], layout: Layout, target: NDArray[Any]) -> None:
    channels = (1, 3) if layout.is_gray else (3,)
    if len(planes) not in channels or planes.shape[1:] != target.shape[:2]:
        raise wrong_planes(got, f"{' or '.join(map(str, channels))} planes of at least", target.shape)


def _strips(height: int, width: int) -> Iterator[slice]:
    rows = max(1, _STRIP // max(1, width))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def _to_planes(source: NDArray[Any], layout: Layout, planes: NDArray[np.float32]) -> None:
    """Fill (3 or 1, h, w) from an (h, w) or (h, w, C) array of any strides."""
    if layout.is_gray:
        gray = source if source.ndim == 2 else source[..., 0]
        _divide(gray, layout.scale, planes[0])
        planes[1:] = planes[0]
        return
    ordered = planes if layout.order == "rgb" else planes[::-1]
    if layout.channels == 3 and source.size >= _SMALL:
        for strip in _strips(*source.shape[:2]):
            cv2.split(_divide(source[strip], layout.scale), list(ordered[:, strip]))
    else:
        colours = source if layout.channels == 3 else source[..., :3]
        _divide(colours.transpose(2, 0, 1), layout.scale, ordered)


def _divide(source: NDArray[Any], white: int, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """source / white in float32, correctly rounded; for white = 1 the very values."""
    if out is None:
        out = np.empty(source.shape, np.float32)
    out[...] = source  # float32 holds every value; dividing in place afterwards is quicker than a division that converts
    if white != 1:
        out /= white
    return out


def _mean(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of three planes as one, written so that three equal planes give their very value."""
    first = planes[0]
    with np.errstate(invalid="ignore", over="ignore"):  # a network that leaves the range of float32 gives NaN, not a warning
        mean: NDArray[np.float32] = planes[1] - first
        mean += planes[2] - first
        mean /= 3
        mean += first
    return mean[np.newaxis]


def _from_planes_to_integers(planes: NDArray[np.float32], target: NDArray[Any], layout: Layout, _clip: bool) -> None:
    # Planes that lie side by side in memory are one tall plane: a third of the calls, which is what counts on small images.
    stacked = planes.reshape(1, -1, planes.shape[2]) if planes.flags.c_contiguous else planes
    tall = [to_depth(plane, layout.scale, layout.depth) for plane in stacked]
    converted = list(tall[0].reshape(planes.shape)) if len(tall) == 1 else tall
    if _is_interleaved(target):
        cv2.merge(converted, target)
        return
    for channel, plane in enumerate(converted):
        target[..., channel] = plane


def to_depth(
    plane: NDArray[np.float32],
    scale: int,
    depth: int,
    limited: NDArray[np.float32] | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """(H, W) in units of 1.0 as integers in units of 1 / `scale`, rounded half to even and saturated.

    depth    OpenCV's name of their dtype
    limited  room for what is made on the way, (H, W), which may be `plane`; out: room for the result; None: new arrays
    """
    lower = _limit(plane, 1.0, 0.0, _UPPER, limited)[1]  # or addWeighted wraps where value * scale leaves int32
    return _add(lower, scale, lower, 0.0, 0.0, out, depth)


def _from_planes_to_floats(planes: NDArray[np.float32], target: NDArray[Any], _layout: Layout, clip: bool) -> None:
    limits = (0.0, 1.0) if clip else FLOAT16_LIMITS if target.itemsize == 2 else None
    for channel, plane in enumerate(planes):
        target[..., channel] = plane if limits is None else np.clip(plane, *limits)


def _is_interleaved(target: NDArray[Any]) -> bool:
    """True for three native channels side by side, which OpenCV writes in place."""
    size = target.itemsize
    return target.shape[2] == 3 and target.strides[1:] == (3 * size, size) and target.strides[0] > 0 and target.dtype.isnative


def _enlarged(alpha: NDArray[Any], scale: int) -> NDArray[Any]:
    """Bicubic, without its overshoot: an opaque alpha stays opaque."""
    working = np.ascontiguousarray(alpha, dtype=alpha.dtype.newbyteorder("=") if alpha.dtype.kind == "u" else np.float32)
    size = (working.shape[1] * scale, working.shape[0] * scale)
    enlarged: NDArray[Any] = cv2.resize(working, size, interpolation=cv2.INTER_CUBIC)
    np.clip(enlarged, working.min(), working.max(), out=enlarged)
    return enlarged
