"""DipOptions: how one image is fitted. Loads no PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np

from restore_sdk.errors import OptionsError

Width: TypeAlias = Literal["quality", "balanced", "draft"]
Stopping: TypeAlias = Literal["auto", "wmv", "emv", "discrepancy", "held-out", "none"]
Precision: TypeAlias = Literal["fp32", "tf32", "bf16"]
Kernel: TypeAlias = tuple[tuple[float, ...], ...]

SCALES = (2, 4, 8)
SMALLEST_TILE = 64  # pixels; below it there is nothing left to learn from
LARGEST_TILE = 1 << 20  # pixels; no image is cut into such tiles
LARGEST_KERNEL = 1001  # pixels
_SMALLEST_SUM = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class DipOptions:
    """How one image is fitted; None stands for the task's own value.

    width           of the network: "quality" (the paper's 128 channels), "balanced" (64) or "draft" (32)
    preset          network and input by name, a key of restore_sdk.dip.presets.PRESETS
    stopping        "wmv" (windowed variance), "emv" (exponential variance), "discrepancy" (the residual reaches the noise),
                    "held-out" (the error on values kept out of the loss), "none" (all iterations), "auto" (by the task)
    sigma           standard deviation of the noise, white = 1 (25 of 255 is 0.098); None: estimated from the image
    max_iterations  budget of one fit, or of one group of tiles
    max_seconds     budget of the whole image; what is best by then is the result
    patience        iterations without a better score before a fit stops
    held_out        share of the measured values that never enter the loss, where stopping is "held-out"; with a mask of holes
                    these are discs as deep as the holes
    scale           of "dip-super-resolve": 2, 4 or 8
    kernel          of "dip-deblur": rows of an odd square kernel, or "gaussian-blur:sigma=2",
                    "motion-blur:length=9,angle=30" (of fixed values; joined by +)
    seed            the same seed on the same device gives the same result
    learning_rate   of Adam
    input_noise     standard deviation of the noise that is added to the network's input at each iteration
    smoothing       decay of the exponential mean of the iterates, which is the result
    coarse          iterations at half the resolution before the others
    warm            budget in iterations of a video frame that starts from the frame before it
    tile            side of a tile, measured pixels; None: images above 1 megapixel (of the result) are cut
    overlap         of neighbouring tiles, measured pixels; a wide kernel makes it wider
    batch           tiles fitted at once
    precision       "tf32" and "bf16" work on GPUs only
    compiled        pass the network through torch.compile, on GPUs only; the first iteration takes longer then, up to
                    minutes, and so does the next after tiles of a group have stopped
    """

    width: Width = "balanced"
    preset: str | None = None
    stopping: Stopping = "auto"
    sigma: float | None = None
    max_iterations: int | None = None
    max_seconds: float | None = None
    patience: int | None = None
    held_out: float = 0.03
    scale: int = 4
    kernel: Kernel | str | None = None
    seed: int = 0
    learning_rate: float | None = None
    input_noise: float | None = None
    smoothing: float = 0.99
    coarse: int = 0
    warm: int = 200
    tile: int | None = None
    overlap: int = 48
    batch: int = 4
    precision: Precision = "fp32"
    compiled: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.scale, Integral) and not isinstance(self.scale, bool):
            object.__setattr__(self, "scale", int(self.scale))
        for name, choices in _CHOICES.items():
            if not isinstance(getattr(self, name), type(choices[0])) or getattr(self, name) not in choices:
                raise OptionsError(name, getattr(self, name), f"one of {', '.join(map(str, choices))}")
        for name, (kind, least, most, unit) in _LIMITS.items():
            value = getattr(self, name)
            if value is None and name in _MAY_BE_NONE:
                continue
            if not _holds(value, kind, least, most):
                raise OptionsError(name, value, _wanted(kind, least, most, unit))
            object.__setattr__(self, name, kind(value))  # numpy's numbers too are plain ones from here on
        if self.tile is not None and self.overlap * 2 > self.tile:
            raise OptionsError("overlap", self.overlap, f"at most half of tile={self.tile} pixels")
        if self.kernel is not None and not isinstance(self.kernel, str):
            object.__setattr__(self, "kernel", _kernel(self.kernel))


_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "width": get_args(Width),
    "stopping": get_args(Stopping),
    "scale": SCALES,
    "precision": get_args(Precision),
    "compiled": (False, True),
}
_LIMITS: Mapping[str, tuple[type, float, float, str]] = {
    "sigma": (float, 0.0, 1.0, ", white = 1"),
    "max_iterations": (int, 1, 1_000_000, " iterations"),
    "max_seconds": (float, 0.0, math.inf, " seconds"),
    "patience": (int, 1, 1_000_000, " iterations"),
    "held_out": (float, 0.001, 0.5, ""),
    "seed": (int, 0, 2**63 - 1, ""),
    "learning_rate": (float, 1e-6, 1.0, ""),
    "input_noise": (float, 0.0, 1.0, ""),
    "smoothing": (float, 0.0, 0.9999, ""),
    "coarse": (int, 0, 1_000_000, " iterations"),
    "warm": (int, 1, 1_000_000, " iterations"),
    "tile": (int, SMALLEST_TILE, LARGEST_TILE, " pixels"),
    "overlap": (int, 8, LARGEST_TILE // 2, " pixels"),
    "batch": (int, 1, 1024, " tiles"),
}
_MAY_BE_NONE = {"sigma", "max_iterations", "max_seconds", "patience", "learning_rate", "input_noise", "tile"}


def _holds(value: object, kind: type, least: float, most: float) -> bool:
    number = isinstance(value, Integral if kind is int else Real)
    return number and not isinstance(value, bool) and least <= cast(float, value) <= most and math.isfinite(cast(float, value))


def _wanted(kind: type, least: float, most: float, unit: str) -> str:
    if math.isinf(most):
        return f"a finite number of at least {least:g}{unit}"
    return f"{'an integer' if kind is int else 'a number'} of {least:g} to {most:g}{unit}"


def _kernel(rows: object) -> Kernel:
    """Rows of a square kernel of odd side, scaled to sum 1, as plain numbers, so that options stay values."""
    want = f"an odd square of finite numbers with a positive sum, at most {LARGEST_KERNEL} pixels a side"
    try:
        kernel = np.asarray(rows)
        kernel = kernel.astype(np.float64, casting="same_kind" if kernel.dtype.kind == "c" else "unsafe")
    except (TypeError, ValueError) as exc:
        raise OptionsError("kernel", rows, want) from exc
    square = kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
    if not square or len(kernel) > LARGEST_KERNEL or not np.isfinite(kernel).all() or kernel.sum() < _SMALLEST_SUM:
        raise OptionsError("kernel", f"an array of {kernel.shape} with sum {kernel.sum():g}", want)
    return tuple(tuple(map(float, row)) for row in kernel / kernel.sum())
