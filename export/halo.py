"""What tiles cost in accuracy: nothing at the exact halo, which is checked, and a measured error at smaller ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from export.calibration import Calibration
from export.errors import ExportError
from export.tolerance import TILE_ROUNDING, Precision
from restore_sdk.backends.base import Backend, FloatNCHW
from restore_sdk.tiling.plan import Span, plan_tiles
from restore_sdk.tiling.walk import walk

LARGEST_FAST_ERROR = 0.25 / 255  # a quarter of an 8-bit step
TILES_PER_AXIS = 3  # the middle one is cut on all four sides
SMALLEST_SIDE = 288  # pixels; fits the photographs of the usual sets
LARGEST_GLOBAL_HALO = 64  # pixels tried for a network without a finite reach


@dataclass(frozen=True, slots=True)
class FastHalo:
    """Halo in pixels and the largest difference to the whole image, in units of value_range."""

    halo: int
    error: float


def exact_halo(radius: int, size_multiple: int) -> int:
    """`radius` rounded up to the multiple: tiles must start on it."""
    return -(-radius // size_multiple) * size_multiple


def calibration_side(radius: int | None, size_multiple: int) -> int:
    """Side of a square, pixels, so large that its middle tile does not see all of it even with the exact halo."""
    halo = LARGEST_GLOBAL_HALO if radius is None else exact_halo(radius, size_multiple)
    core = max(SMALLEST_SIDE // TILES_PER_AXIS, halo + 1)
    return TILES_PER_AXIS * -(-core // size_multiple) * size_multiple


def check_exact_tiles(backend: Backend, images: Calibration, radius: int, size_multiple: int) -> float:
    """Largest difference between tiles with the exact halo and the whole image: 0, or rounding (a runtime may sum in another
    order for another tile shape) in the precision that the spec states. Raises ExportError if more.

    This is the proof that multiple and radius are right together; an operator that depends on absolute position fails here.
    """
    error = max(_errors(backend, images.images, exact_halo(radius, size_multiple), size_multiple))
    if not error <= TILE_ROUNDING.get(backend.spec.precision, TILE_ROUNDING[Precision.FP32]):
        raise ExportError(
            f"tiles with a halo of {exact_halo(radius, size_multiple)} px differ by {error:.3g} from the whole image",
            "give the network a size_multiple attribute with its total stride, and no operator that depends on position",
        )
    return error


def find_fast_halo(backend: Backend, images: Calibration, radius: int | None, size_multiple: int) -> FastHalo:
    """The smallest multiple-of-S halo whose error stays below a quarter of an 8-bit step on every image.

    Without a finite reach that may not exist; then the best of those up to LARGEST_GLOBAL_HALO.
    """
    largest = exact_halo(LARGEST_GLOBAL_HALO if radius is None else radius, size_multiple)
    tried = []
    for halo in range(0, largest + 1, size_multiple):
        tried.append(FastHalo(halo, max(_errors(backend, images.images, halo, size_multiple))))
        if tried[-1].error < LARGEST_FAST_ERROR:
            return tried[-1]
    return min(tried, key=lambda item: item.error)


def _errors(backend: Backend, images: Iterable[FloatNCHW], halo: int, size_multiple: int) -> list[float]:
    return [float(np.abs(_in_tiles(backend, image, halo, size_multiple) - backend.infer(image)).max()) for image in images]


def _in_tiles(backend: Backend, image: FloatNCHW, halo: int, size_multiple: int) -> FloatNCHW:
    height, width = image.shape[2:]
    scale = backend.spec.scale
    canvas = np.full((1, image.shape[1], height * scale, width * scale), np.nan, np.float32)

    def read(rows: Span, columns: Span) -> FloatNCHW:
        return np.ascontiguousarray(image[:, :, rows.outer_start : rows.outer_stop, columns.outer_start : columns.outer_stop])

    def write(rows: Span, columns: Span, core: FloatNCHW) -> None:
        canvas[:, :, _scaled(rows, scale), _scaled(columns, scale)] = core

    plan = plan_tiles(height, width, core=height // TILES_PER_AXIS, halo=halo, multiple=size_multiple)
    walk(plan, read, backend.infer, write, scale=scale)
    return canvas


def _scaled(span: Span, scale: int) -> slice:
    return slice(span.core_start * scale, span.core_stop * scale)
