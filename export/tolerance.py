"""How far two forms of one network may differ, which depends on the precision that the model file is in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_HALF = 6e4  # magnitude allowed of a value held in FP16, whose own end is 65504


class Precision(StrEnum):
    """What the weights and activations of a model file are held in."""

    FP32 = "fp32"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest difference in units of value_range, and least PSNR in dB of one output against the other (peak 1)."""

    max_abs: float
    psnr: float = -math.inf

    def allows(self, max_abs: float, psnr: float) -> bool:
        """Whether both are within; NaN is not."""
        return max_abs <= self.max_abs and psnr >= self.psnr


INT8 = "int8"  # written by quantising an FP32 file, not by tracing: no Precision of its own

# float32 rounding through some twenty layers stays far below 1e-4; half has 11 bits, a step of 2**-11 just below 1; of
# INT8 this asks only whether it is the same network, since what it costs is measured on images
TOLERANCES: Mapping[str, Tolerance] = {
    Precision.FP32: Tolerance(1e-4),
    Precision.FP16: Tolerance(1e-2, 60.0),
    INT8: Tolerance(0.25, 30.0),
}
# of tiles against the whole image, where a runtime may sum in another order: one step of the output's precision
TILE_ROUNDING: Mapping[str, float] = {Precision.FP32: 1e-5, Precision.FP16: 2.0**-10}


def tolerance_for(*precisions: str) -> Tolerance:
    """The widest of those for `precisions`; FP32's for a precision that this release does not know."""
    known = [TOLERANCES.get(precision, TOLERANCES[Precision.FP32]) for precision in precisions]
    return max(known, key=lambda item: item.max_abs)


def difference(got: NDArray[Any], want: NDArray[Any]) -> tuple[float, float]:
    """Largest difference (NaN if there is a NaN) and PSNR in dB with peak 1 (infinite where equal) of two equal shapes."""
    with np.errstate(invalid="ignore"):  # infinity less infinity
        delta = np.abs(got.astype(np.float64) - want)
    mean_square = float(np.mean(delta**2))
    psnr = math.inf if mean_square == 0 else -10 * math.log10(mean_square) if mean_square > 0 else math.nan
    return float(delta.max()), psnr
