"""The same numbers from two forms of one network, at the shapes where exports go wrong.

Tracing keeps one branch of every `if` on a size and floors every odd division without a word, so an export that runs is not
an export that is right: only other shapes than the traced one show it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from export.calibration import texture
from export.checkpoint import load_checkpoint
from export.errors import DifferentNumbersError, ExportError
from export.runtime import opened
from export.stamp import read_stamped
from restore_sdk.backends.base import FloatNCHW
from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.spec import ModelSpec

Infer: TypeAlias = Callable[[FloatNCHW], FloatNCHW]
Shape: TypeAlias = tuple[int, int, int, int]

TOLERANCE = 1e-4  # largest difference, in units of value_range; float32 rounding through some twenty layers stays far below
LARGE_SIDES = (384, 512)


@dataclass(frozen=True, slots=True)
class Difference:
    """Two outputs for one input of `shape` (N, C, H, W): the largest difference (NaN: not comparable) and PSNR in dB."""

    label: str
    shape: Shape
    max_abs: float
    psnr: float  # of one output against the other, peak 1; infinite where they are equal

    def as_json(self) -> dict[str, Any]:
        return {name: value if _is_finite(value) else None for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Verification:
    """One Difference for each shape. `tolerance` is the largest difference allowed, in units of value_range."""

    differences: tuple[Difference, ...]
    tolerance: float

    @property
    def worst(self) -> Difference:
        return max(self.differences, key=lambda item: math.inf if math.isnan(item.max_abs) else item.max_abs)

    @property
    def passed(self) -> bool:
        return self.worst.max_abs <= self.tolerance  # false for NaN

    def check(self) -> None:
        """Raise DifferentNumbersError unless passed."""
        if not self.passed:
            raise DifferentNumbersError(self.worst.max_abs, self.tolerance, self.worst.shape)

    def as_json(self) -> dict[str, Any]:
        rows = [item.as_json() for item in self.differences]
        return {"passed": self.passed, "tolerance": self.tolerance, "max_abs": self.worst.as_json()["max_abs"], "shapes": rows}


def shapes(channels: int, size_multiple: int) -> dict[str, Shape]:
    """What to compare: every side a multiple S; odd multiples show floored divisions, S x S the padding."""
    s = size_multiple
    high, wide = (max(1, side // s) * s for side in LARGE_SIDES)
    return {
        "minimum": (1, channels, s, s),
        "odd": (1, channels, 13 * s, 17 * s),
        "tall": (1, channels, 41 * s, 3 * s),
        "wide": (1, channels, 3 * s, 41 * s),
        "batch": (3, channels, 7 * s, 5 * s),
        "large": (1, channels, high, wide),
    }


def compare(candidate: Infer, reference: Infer, channels: int, size_multiple: int, tolerance: float = TOLERANCE) -> Verification:
    """Run both on textured noise, reproducibly, at `shapes`."""
    cases = shapes(channels, size_multiple).items()
    return Verification(tuple(_difference(label, shape, candidate, reference) for label, shape in cases), tolerance)


def verify(model: Path, against: Path, *, tolerance: float = TOLERANCE, threads: int | None = None) -> Verification:
    """Compare a stamped model with a checkpoint (a run folder or safetensors) or with another ONNX file.

    Raises ModelError and its kin for files that cannot be used; a difference beyond `tolerance` is no error but a report.
    """
    content, spec = read_stamped(model)
    with opened(content, spec, threads=threads) as candidate:
        if against.suffix == ".onnx":
            with opened(read_onnx(against).content, spec, threads=threads) as reference:
                return compare(candidate.infer, reference.infer, spec.channels, spec.size_multiple, tolerance)
        checkpoint = load_checkpoint(against)
        _check_contract(spec, {name: getattr(checkpoint, name) for name in ("channels", "scale", "size_multiple")})
        return compare(candidate.infer, checkpoint.infer, spec.channels, spec.size_multiple, tolerance)


def _check_contract(spec: ModelSpec, promised: dict[str, int]) -> None:
    stamped = {name: getattr(spec, name) for name in promised}
    if stamped != promised:
        raise ExportError(f"the model has {stamped}, the checkpoint {promised}", "compare a model with its own checkpoint")


def _difference(label: str, shape: Shape, candidate: Infer, reference: Infer) -> Difference:
    batch = np.concatenate([texture(shape[1], shape[2], shape[3], sigma=25, seed=seed) for seed in range(shape[0])])
    got, want = candidate(batch), reference(batch)
    if got.shape != want.shape:
        return Difference(label, shape, math.inf, -math.inf)
    delta = np.abs(got.astype(np.float64) - want)
    mean_square = float(np.mean(delta**2))
    psnr = math.inf if mean_square == 0 else -10 * math.log10(mean_square) if mean_square > 0 else math.nan
    return Difference(label, shape, float(delta.max()), psnr)


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
