"""Images in host memory: validated, cut, converted, restored and put together again.

Everything between a user's array and the backend's. What runs on every call is kept short: the network has emptied the
processor's caches by then, and on a small image each function that has to come back into them costs as much as its work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from restore_sdk.image.layout import FloatNCHW, Layout, inspect, new_output, read_tile, write_tile
from restore_sdk.image.plain import planes_of, restored_of
from restore_sdk.image.validation import warn_of_scale
from restore_sdk.options import ChannelOrder, TileOptions
from restore_sdk.spec import ModelSpec
from restore_sdk.tiling.choice import Planner
from restore_sdk.tiling.plan import Span, TilePlan
from restore_sdk.tiling.walk import check_output, walk

Image: TypeAlias = NDArray[Any]
Infer: TypeAlias = Callable[[FloatNCHW], FloatNCHW]
TileCallback: TypeAlias = Callable[[int, int], None]  # (tiles done, tiles in all)


class HostImages:
    """Restores host arrays for one model's spec. Any number of threads may call it at once."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec, self._scale, self._min_size = spec, spec.scale, spec.min_size
        self._one_to_one = spec.scale == 1 and spec.channels == 3
        self.plan = Planner(spec).plan

    def restore(
        self,
        image: Image,
        infer: Infer,
        *,
        order: ChannelOrder,
        clip: bool,
        options: TileOptions | None,
        on_tile: TileCallback | None,
    ) -> tuple[Image, TilePlan]:
        """The restored image and the plan it was cut by; arguments and errors as for Restorer.restore()."""
        layout = inspect(image, order=order, min_size=self._min_size)
        if clip and layout.is_float:
            warn_of_scale(image)
        plan = self.plan(layout.height, layout.width, options)
        if plan.count > 1:
            restored = new_output(image, layout, scale=self._scale)
            job, batch = _Job(image, restored, layout, self._spec, clip), 1 if options is None else options.batch
            walk(plan, job.read, infer, job.write, batch=batch, scale=self._scale, on_tile=on_tile)
            return restored, plan
        if self._one_to_one and layout.is_plain and plan.height == layout.height and plan.width == layout.width:
            output = infer(planes_of(image, layout))
            check_output(output, 1, plan.height, plan.width)
            restored = restored_of(output, layout)
        else:
            restored = self._at_once(image, layout, plan, infer, clip)
        if on_tile is not None:
            on_tile(1, 1)
        return restored, plan

    def _at_once(self, image: Image, layout: Layout, plan: TilePlan, infer: Infer, clip: bool) -> Image:
        """What walk() does for a plan of one tile, without its bookkeeping."""
        rows, columns, scale = slice(0, plan.height), slice(0, plan.width), self._scale
        restored = new_output(image, layout, scale=scale)
        output = infer(read_tile(image, layout, rows, columns, channels=self._spec.channels))
        check_output(output, 1, plan.height * scale, plan.width * scale)
        write_tile(restored, layout, rows, columns, output, scale=scale, clip=clip)
        return restored


class _Job:
    """Where one call's tiles come from and go to."""

    __slots__ = ("_clip", "_image", "_layout", "_restored", "_spec")

    def __init__(self, image: Image, restored: Image, layout: Layout, spec: ModelSpec, clip: bool) -> None:
        self._image, self._restored, self._layout, self._spec, self._clip = image, restored, layout, spec, clip

    def read(self, row: Span, column: Span) -> FloatNCHW:
        return read_tile(self._image, self._layout, row.outer_slice, column.outer_slice, channels=self._spec.channels)

    def write(self, row: Span, column: Span, core: FloatNCHW) -> None:
        rows, columns = row.core_slice, column.core_slice
        write_tile(self._restored, self._layout, rows, columns, core, scale=self._spec.scale, clip=self._clip)


def in_range(infer: Infer, value_range: tuple[float, float]) -> Infer:
    """`infer` in units of [0, 1], whatever the range of values the network was trained with."""
    if value_range == (0.0, 1.0):
        return infer
    least, most = value_range
    width = np.float32(most - least)
    return lambda batch: (infer(batch * width + np.float32(least)) - np.float32(least)) / width
