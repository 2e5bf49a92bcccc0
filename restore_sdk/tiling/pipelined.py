"""walk() for a runtime that keeps several batches in flight: the next tiles are read while earlier ones are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator

import numpy as np

from restore_sdk.errors import BackendError
from restore_sdk.tiling.plan import Span, TilePlan
from restore_sdk.tiling.walk import FloatNCHW, Tile, check_output, check_positive, cropped, groups, outer_shape


def walk_many(
    plan: TilePlan,
    read: Callable[[Span, Span], FloatNCHW],
    infer_many: Callable[[Iterable[FloatNCHW]], Iterator[FloatNCHW]],
    write: Callable[[Span, Span, FloatNCHW], None],
    *,
    batch: int = 1,
    scale: int = 1,
    on_tile: Callable[[int, int], None] | None = None,
) -> None:
    """As walk(), for a PipelinedBackend: infer_many(batches) yields one result for each batch, in their order, and takes as many
    batches ahead of its results as it keeps in flight. The tiles have their turn row by row.

    If anything raises half-way, what is in flight is given up: the generator is closed. Raises OptionsError, and BackendError
    where the results have another shape or number than the batches.
    """
    check_positive("batch", batch)
    check_positive("scale", scale)
    in_flight: deque[list[Tile]] = deque()
    results = infer_many(_batches(plan, read, batch, in_flight))
    done = 0
    try:
        for outputs in results:
            group = in_flight.popleft() if in_flight else []
            height, width = outer_shape(group[0]) if group else (0, 0)
            check_output(outputs, len(group), height * scale, width * scale)
            for index, (row, column) in enumerate(group):
                write(row, column, cropped(outputs[index : index + 1], row, column, scale))
                done += 1
                if on_tile is not None:
                    on_tile(done, plan.count)
    finally:
        if isinstance(results, Generator):
            results.close()
    if done != plan.count:
        raise BackendError(f"the runtime returned {done} of {plan.count} tiles; report this with its version")


def _batches(
    plan: TilePlan, read: Callable[[Span, Span], FloatNCHW], batch: int, in_flight: deque[list[Tile]]
) -> Iterator[FloatNCHW]:
    for group in groups(plan.tiles, batch):
        inputs = [read(row, column) for row, column in group]
        in_flight.append(group)
        yield inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
