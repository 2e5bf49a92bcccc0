"""layout.py for images that lie on a GPU: its kernels between a user's array and a network's tiles.

The numbers are those of layout.py, to the bit, but for these: NaN and infinite values are not refused, for nothing looks at the
pixels from the host (in integers NaN becomes 0, as there); a NaN in float16 may have another payload; and a fourth channel that
is enlarged, by the same bicubic weights, is rounded elsewhere than by OpenCV: one level of integers, a few last bits of floats.
"""

from __future__ import annotations

from typing import TypeAlias, get_args

import numpy as np

from restore_sdk.cuda.arrays import DeviceArray, DeviceView
from restore_sdk.cuda.launching import DeviceMemory, Launcher, scratch
from restore_sdk.errors import OptionsError
from restore_sdk.image.layout import FLOAT16_LIMITS, Layout, check_channels
from restore_sdk.image.validation import check_shape
from restore_sdk.options import ChannelOrder
from restore_sdk.spec import ModelSpec

KINDS = {"|u1": 1, "<u2": 2, "<f2": 3, "<f4": 4}  # as kernels.cu numbers them
FLOAT_BYTES = 4
STEPS = 64  # pixels that one thread looks at before it tells the others what it found, at least
RANGE_BYTES = 8  # the least and the greatest of a plane, as kernels.cu keeps them
Limits: TypeAlias = tuple[np.float32, np.float32]
Arguments: TypeAlias = tuple[int | np.generic, ...]


def inspect_view(view: DeviceView, *, order: ChannelOrder = "rgb", min_size: int = 1) -> Layout:
    """As inspect(), for a borrowed device array, whose values nobody looks at. Raises ImageShapeError, OptionsError."""
    if order not in get_args(ChannelOrder):
        raise OptionsError("channel_order", order, "'rgb' or 'bgr'")
    check_shape(view.shape, min_size)
    return Layout(view.shape[0], view.shape[1], view.shape[2] if len(view.shape) == 3 else 0, view.dtype, order)


class DeviceImage:
    """One borrowed image and the array for its result, (H * scale, W * scale[, C]) of its dtype, allocated on `stream`.

    Raises ImageShapeError for a colour image and a network of one channel.
    """

    def __init__(
        self, view: DeviceView, layout: Layout, spec: ModelSpec, launcher: Launcher, *, clip: bool = True, owner: object = None
    ) -> None:
        check_channels(layout, spec.channels)
        self._view, self._layout, self._spec, self.launcher = view, layout, spec, launcher
        self._limits = _limits(layout, clip)
        self._kind = KINDS[view.dtype.str]
        self._format = _integers(1 if layout.is_gray else 3, layout.order == "bgr", self._kind)
        shape = layout.scaled_shape(spec.scale)
        memory = DeviceMemory(launcher, int(np.prod(shape)) * layout.dtype.itemsize, view.stream, owner)
        self.result = DeviceArray(memory, shape, layout.dtype, launcher, view.stream)

    def tile_bytes(self, height: int, width: int) -> tuple[int, int]:
        """Of a tile of `height` x `width` pixels before and after the network."""
        nbytes = FLOAT_BYTES * self._spec.channels * height * width
        return nbytes, nbytes * self._spec.scale**2

    def enlarge_alpha(self) -> None:
        """Queue what new_output() does with a fourth channel that is not copied as it is; without one, nothing."""
        view, layout, spec, result = self._view, self._layout, self._spec, self.result
        if not layout.has_alpha or spec.scale == 1:
            return
        launch, stream, pixels = self.launcher.launch, view.stream, layout.height * layout.width
        plane: Arguments = (
            view.pointer + 3 * view.strides[2],
            *_integers(*view.strides[:2], layout.height, layout.width, self._kind),
        )
        place: Arguments = (result.pointer + 3 * result.strides[2], *_integers(*result.strides[:2]))
        with scratch(self.launcher, RANGE_BYTES, stream) as limits:
            launch("start_range", 1, (limits,), stream)
            launch("find_range", -(-pixels // STEPS), (*plane, limits), stream)
            launch("enlarge", pixels * spec.scale**2, (*plane, np.int64(spec.scale), limits, *place), stream)

    def gather(self, rows: slice, columns: slice, tile: int) -> None:
        """Queue read_tile(): pixels [rows, columns] of the padded image into float32 (1, C, h, w) at the pointer `tile`."""
        view, layout, spec = self._view, self._layout, self._spec
        height, width = rows.stop - rows.start, columns.stop - columns.start
        arguments: Arguments = (
            view.pointer,
            *_integers(*_three(view.strides), layout.height, layout.width),
            *self._format,
            np.float32(layout.scale),
            *_range(spec),
            tile,
            *_integers(rows.start, columns.start, height, width, spec.channels),
        )
        self.launcher.launch("gather", height * width, arguments, view.stream)

    def scatter(self, tile: int, outer: tuple[slice, slice], core: tuple[slice, slice]) -> None:
        """Queue write_tile(): the `core` (rows, columns) of the network's result for the tile `outer`, both in pixels of the
        padded image before scaling; what lies beyond the true image is dropped."""
        view, layout, spec, result = self._view, self._layout, self._spec, self.result
        copied = layout.has_alpha and spec.scale == 1
        first_row, top, height, tile_height = _placed(outer[0], core[0], layout.height, spec.scale)
        first_column, left, width, tile_width = _placed(outer[1], core[1], layout.width, spec.scale)
        alpha = (view.pointer + 3 * view.strides[2], view.strides[0], view.strides[1]) if copied else (0, 0, 0)
        arguments: Arguments = (
            tile,
            *_integers(tile_height, tile_width, first_row, first_column, spec.channels),
            *_range(spec),
            result.pointer,
            *_integers(*_three(result.strides)),
            *self._format,
            np.float32(layout.scale),
            *self._limits,
            *_integers(top, left, height, width),
            alpha[0],
            *_integers(*alpha[1:]),
        )
        self.launcher.launch("scatter", height * width, arguments, view.stream)


def _placed(outer: slice, core: slice, length: int, scale: int) -> tuple[int, int, int, int]:
    """On one axis, in pixels of the result: where the core begins in the tile and in the result, how much of it lies in the true
    image, and how long the tile is."""
    kept = min(core.stop, length) - core.start
    return (core.start - outer.start) * scale, core.start * scale, kept * scale, (outer.stop - outer.start) * scale


def _limits(layout: Layout, clip: bool) -> Limits:
    if clip:
        return np.float32(0), np.float32(1)
    least, most = FLOAT16_LIMITS if layout.dtype.itemsize == 2 else (-np.inf, np.inf)
    return np.float32(least), np.float32(most)


def _range(spec: ModelSpec) -> Limits:
    least, most = spec.value_range
    return np.float32(least), np.float32(most - least)


def _three(strides: tuple[int, ...]) -> tuple[int, ...]:
    return strides if len(strides) == 3 else (*strides, 0)


def _integers(*values: int) -> tuple[np.int64, ...]:
    return tuple(map(np.int64, values))
