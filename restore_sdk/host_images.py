"""Images in host memory: validated, cut, converted, restored and put together again.

Everything between a user's array and the backend's. What runs on every call is kept short: the network has emptied the
processor's caches by then, and on a small image each function that has to come back into them costs as much as its work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from restore_sdk.backends.base import Bound
from restore_sdk.errors import MaskError, OptionsError
from restore_sdk.image.layout import FloatNCHW, Layout, inspect, new_output, read_tile, write_tile
from restore_sdk.image.plain import BoundBytes, bytes_of_planes, planes_of, planes_of_bytes, restored_of
from restore_sdk.image.validation import warn_of_scale
from restore_sdk.options import ChannelOrder, TileOptions
from restore_sdk.spec import LARGEST_SIDE, ModelSpec
from restore_sdk.tiling.choice import Planner
from restore_sdk.tiling.pipelined import walk_many
from restore_sdk.tiling.plan import Span, TilePlan
from restore_sdk.tiling.recovery import FULL, Recovery, replanner
from restore_sdk.tiling.walk import FLOAT32, check_float32, check_output, walk

Image: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[Any] | None
Infer: TypeAlias = Callable[[FloatNCHW], FloatNCHW]
InferMany: TypeAlias = Callable[[Iterable[FloatNCHW]], Iterator[FloatNCHW]]
Bind: TypeAlias = Callable[[tuple[int, int, int, int]], Bound]
TileCallback: TypeAlias = Callable[[int, int], None]  # (tiles done, tiles in all)

UNIT = (0.0, 1.0)  # the range that images are in here
_BYTE = np.dtype(np.uint8)
_SHAPES_KEPT, _SHAPES_BOUND = 64, 8  # arrays of a bound shape take up to 0.6 MB for each thread that restores at once


class HostImages:
    """Restores host arrays for one model's spec. Any number of threads may call it at once.

    usual, usual_order  the options and the order of channels of most calls, which quickly() serves
    bind                of the backend, if it has that and the spec's values are those of images
    """

    def __init__(
        self,
        spec: ModelSpec,
        usual: TileOptions | None = None,
        usual_order: ChannelOrder = "rgb",
        bind: Bind | None = None,
    ) -> None:
        self._spec, self._scale, self._min_size = spec, spec.scale, spec.min_size
        self._one_to_one = spec.scale == 1 and spec.channels == 3
        self.plan = Planner(spec).plan
        self.recovery = Recovery(spec.size_multiple)
        self._usual, self._usual_order, self._bind, self._kept = usual, usual_order, bind, _SHAPES_KEPT
        self._quick: dict[tuple[int, ...], _Known] = {}  # by the image's shape

    def restore(
        self,
        image: Image,
        infer: Infer,
        infer_many: InferMany | None = None,
        *,
        order: ChannelOrder,
        clip: bool,
        options: TileOptions | None,
        on_tile: TileCallback | None,
    ) -> tuple[Image, TilePlan]:
        """The restored image and the plan it was cut by; arguments and errors as for Restorer.restore(). `infer_many` takes
        several batches in flight, where the backend has that."""
        layout = inspect(image, order=order, min_size=self._min_size)
        if clip and layout.is_float:
            warn_of_scale(image)
        plan = self.plan(layout.height, layout.width, options)
        if plan.count == 1 and self.recovery.known is None:
            try:
                restored = self._at_once(image, layout, plan, infer, clip)
            except FULL:
                pass  # smaller tiles may fit: below
            else:
                if on_tile is not None:
                    on_tile(1, 1)
                return restored, plan
        job = _Job(image, new_output(image, layout, scale=self._scale), layout, self._spec, clip)
        work = partial(_walk, job=job, infer=infer, infer_many=infer_many)
        replan, batch = replanner(self.plan, layout.height, layout.width, options), 1 if options is None else options.batch
        return job.restored, self.recovery.run(plan, work, replan=replan, batch=batch, on_tile=on_tile)

    def quickly(self, image: Image) -> tuple[Image, TilePlan] | None:
        """What restore() gives for bytes of a shape that it knows, with the usual options, in the fewest steps; None: ask it."""
        known = self._quick.get(image.shape)
        if known is None or image.dtype is not _BYTE or self.recovery.known is not None:
            return None
        plan, idle, new = known
        try:
            place = idle.pop()  # atomic, so that no two threads have one place
        except IndexError:
            place = new()
        try:
            restored = place.restored(image)
        except FULL:
            return None
        finally:
            idle.append(place)
        return None if restored is None else (restored, plan)

    def forget(self) -> None:
        """Let go of the network, for good; restore() still works."""
        self._kept = 0
        self._quick = {}

    def shapes(self, shape: tuple[int, int], options: TileOptions | None) -> list[tuple[int, int, int, int]]:
        """What an image of `shape`, (height, width) in pixels, is given to the backend as: (N, C, H, W). Raises OptionsError."""
        plan = self.plan(*_checked_shape(shape), options)
        batches = {1, 1 if options is None else min(options.batch, plan.count)}
        heights, widths = ({span.outer for span in spans} for spans in (plan.rows, plan.columns))
        return sorted(product(batches, {self._spec.channels}, heights, widths))

    def _at_once(self, image: Image, layout: Layout, plan: TilePlan, infer: Infer, clip: bool) -> Image:
        """What walk() does for a plan of one tile, without its bookkeeping."""
        height, width, scale = plan.height, plan.width, self._scale
        if self._one_to_one and layout.is_plain and height == layout.height and width == layout.width:
            output = infer(planes_of(image, layout))
            check_output(output, 1, height, width)
            self._remember(layout, plan, infer)
            return restored_of(output, layout)
        rows, columns, restored = slice(0, height), slice(0, width), new_output(image, layout, scale=scale)
        output = infer(read_tile(image, layout, rows, columns, channels=self._spec.channels))
        check_output(output, 1, height * scale, width * scale)
        write_tile(restored, layout, rows, columns, output, scale=scale, clip=clip)
        return restored

    def _remember(self, layout: Layout, plan: TilePlan, infer: Infer) -> None:
        known = len(self._quick)
        if layout.dtype is not _BYTE or layout.order != self._usual_order or known >= self._kept:
            return
        if plan is self.plan(layout.height, layout.width, self._usual):
            bind = self._bind if known < _SHAPES_BOUND else None
            shape = (1, 3, layout.height, layout.width)
            new = partial(_Unbound, infer, shape) if bind is None else partial(_bound, bind, shape)
            self._quick[layout.shape] = (plan, [], new)


class _Place(Protocol):
    """What restores bytes of one shape; one thread at a time."""

    def restored(self, image: NDArray[np.uint8], /) -> NDArray[np.uint8] | None:
        """None where the network does not give what it should."""


_Known: TypeAlias = tuple[TilePlan, list[_Place], Callable[[], _Place]]  # idle places, as many as threads restored at once


class _Unbound:
    __slots__ = ("_infer", "_shape")

    def __init__(self, infer: Infer, shape: tuple[int, ...]) -> None:
        self._infer, self._shape = infer, shape

    def restored(self, image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        output = self._infer(planes_of_bytes(image))
        as_promised = type(output) is np.ndarray and output.dtype is FLOAT32 and output.shape == self._shape
        return bytes_of_planes(output) if as_promised else None


def _bound(bind: Bind, shape: tuple[int, int, int, int]) -> BoundBytes:
    bound = bind(shape)
    return BoundBytes(bound.given, bound.restored, bound.run)


class _Job:
    """Where one call's tiles come from and go to."""

    __slots__ = ("_clip", "_image", "_layout", "restored", "spec")

    def __init__(self, image: Image, restored: Image, layout: Layout, spec: ModelSpec, clip: bool) -> None:
        self._image, self.restored, self._layout, self.spec, self._clip = image, restored, layout, spec, clip

    def read(self, row: Span, column: Span) -> FloatNCHW:
        return read_tile(self._image, self._layout, row.outer_slice, column.outer_slice, channels=self.spec.channels)

    def write(self, row: Span, column: Span, core: FloatNCHW) -> None:
        rows, columns = row.core_slice, column.core_slice
        write_tile(self.restored, self._layout, rows, columns, core, scale=self.spec.scale, clip=self._clip)


def _walk(
    plan: TilePlan, batch: int, on_tile: TileCallback | None, *, job: _Job, infer: Infer, infer_many: InferMany | None
) -> None:
    scale = job.spec.scale
    if infer_many is None or plan.count == 1:
        walk(plan, job.read, infer, job.write, batch=batch, scale=scale, on_tile=on_tile)
    else:
        walk_many(plan, job.read, infer_many, job.write, batch=batch, scale=scale, on_tile=on_tile)


def in_range(infer: Infer, value_range: tuple[float, float]) -> Infer:
    """`infer` in units of [0, 1], whatever the range of values the network was trained with."""
    if value_range == UNIT:
        return infer
    least, width = np.float32(value_range[0]), np.float32(value_range[1] - value_range[0])
    return lambda batch: _in_units(infer(batch * width + least), least, width)


def many_in_range(infer_many: InferMany, value_range: tuple[float, float]) -> InferMany:
    """The same for several batches in flight."""
    if value_range == UNIT:
        return infer_many
    least, width = np.float32(value_range[0]), np.float32(value_range[1] - value_range[0])
    return lambda batches: (_in_units(made, least, width) for made in infer_many(batch * width + least for batch in batches))


def _in_units(output: FloatNCHW, least: np.float32, width: np.float32) -> FloatNCHW:
    check_float32(output)
    return (output - least) / width


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    sides = shape if isinstance(shape, tuple | list) else ()
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides):
        raise OptionsError("shape", shape, f"(height, width), integers from 1 to {LARGEST_SIDE} pixels")
    return shape


def refuse_mask(spec: ModelSpec, mask: Mask) -> None:
    """Raise MaskError for a mask that the model does not take, or one that it needs."""
    if "mask" in spec.inputs:
        raise MaskError(f"model {spec.name!r} needs a mask, which this release cannot feed; upgrade restore-sdk")
    if mask is not None:
        remedy = "make black what is to be filled in" if spec.task == "inpaint" else "choose a model that fills in pixels"
        raise MaskError(f"model {spec.name!r} takes no mask; leave it out, and {remedy}, or use 'dip-inpaint'")
