"""Run a network over a plan: read a tile, infer, keep its core. The caller says what reading, inferring and writing are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import BackendError, OptionsError
from restore_sdk.tiling.plan import Span, TilePlan

FloatNCHW: TypeAlias = NDArray[np.float32]
Tile: TypeAlias = tuple[Span, Span]
FLOAT32 = np.dtype(np.float32)


def walk(
    plan: TilePlan,
    read: Callable[[Span, Span], FloatNCHW],
    infer: Callable[[FloatNCHW], FloatNCHW],
    write: Callable[[Span, Span, FloatNCHW], None],
    *,
    batch: int = 1,
    scale: int = 1,
    order: Sequence[int] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> None:
    """Infer every tile of `plan` and write its core; at most one batch is in memory.

    read(row, column)         -> float32 (1, C, row.outer, column.outer)
    infer(batch)              -> float32 (N, C', H * scale, W * scale) for float32 (N, C, H, W)
    write(row, column, core)  takes (1, C', row.core * scale, column.core * scale), a view that is valid during the call only
    batch    at most so many tiles go into one infer(); only consecutive tiles of one outer shape share it
    order    a permutation of range(plan.count): when each tile (counted row by row) has its turn; the result is the same
    on_tile  is called with (tiles done, tiles in all) after each tile

    Raises OptionsError, and BackendError where infer() returns another shape than the plan's scale says.
    """
    check_positive("batch", batch)
    check_positive("scale", scale)
    done = 0
    for group in groups(_ordered(plan, order), batch):
        outputs = _infer_group(group, read, infer, scale)
        for index, (row, column) in enumerate(group):
            write(row, column, cropped(outputs[index : index + 1], row, column, scale))
            done += 1
            if on_tile is not None:
                on_tile(done, plan.count)
        del outputs  # or it would lie in memory beside the next group's


def _ordered(plan: TilePlan, order: Sequence[int] | None) -> Iterator[Tile]:
    if order is None:
        return plan.tiles
    if sorted(order) != list(range(plan.count)):
        raise OptionsError("order", f"{len(order)} indices", f"each of 0 to {plan.count - 1} exactly once")
    columns = len(plan.columns)
    return ((plan.rows[index // columns], plan.columns[index % columns]) for index in order)


def groups(tiles: Iterator[Tile], batch: int) -> Iterator[list[Tile]]:
    """Runs of consecutive tiles with one outer shape, at most `batch` long."""
    group: list[Tile] = []
    for tile in tiles:
        if group and (len(group) == batch or outer_shape(tile) != outer_shape(group[0])):
            yield group
            group = []
        group.append(tile)
    if group:
        yield group


def outer_shape(tile: Tile) -> tuple[int, int]:
    """Height and width that the network sees, pixels."""
    return tile[0].outer, tile[1].outer


def _infer_group(
    group: list[Tile], read: Callable[[Span, Span], FloatNCHW], infer: Callable[[FloatNCHW], FloatNCHW], scale: int
) -> FloatNCHW:
    inputs = [read(row, column) for row, column in group]
    outputs = infer(inputs[0] if len(inputs) == 1 else np.concatenate(inputs))
    height, width = outer_shape(group[0])
    check_output(outputs, len(group), height * scale, width * scale)
    return outputs


def check_output(output: FloatNCHW, count: int, height: int, width: int) -> None:
    """Raise BackendError unless `output` is a float32 array of (count, C, height, width)."""
    check_float32(output)
    got = output.shape
    if len(got) != 4 or (got[0], got[2], got[3]) != (count, height, width):
        want = f"({count}, C, {height}, {width})"
        raise BackendError(f"the network returned {got}, expected {want}; check size_multiple and scale in its spec")


def check_float32(output: FloatNCHW) -> None:
    """Raise BackendError unless `output` is an array of float32."""
    if not isinstance(output, np.ndarray) or output.dtype != FLOAT32:
        kind = f"{output.dtype}" if isinstance(output, np.ndarray) else type(output).__name__
        raise BackendError(f"the network returned {kind}, expected a numpy array of float32; convert it in the backend")


def cropped(output: FloatNCHW, row: Span, column: Span, scale: int) -> FloatNCHW:
    """The core of a tile's result: a view."""
    top, left = (row.core_start - row.outer_start) * scale, (column.core_start - column.outer_start) * scale
    return output[:, :, top : top + row.core * scale, left : left + column.core * scale]


def check_positive(name: str, value: int) -> None:
    """Raise OptionsError for a value below 1."""
    if value < 1:
        raise OptionsError(name, value, "an integer of at least 1")
