"""A network small enough to be fitted within a test, and images for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from restore_sdk.dip.fit import Fit, FitLimits
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.presets import Preset
from restore_sdk.dip.problem import Problem, pose, stacked
from restore_sdk.dip.stopping import NoPolicy, Policy

CPU = torch.device("cpu")
TINY = Preset(down=(8, 8), up=(8, 8), skip=(4, 4), input_depth=4, iterations=12)
PHOTO = Path(__file__).resolve().parents[3] / "examples" / "images" / "clean_photo.png"


def photo(side: int = 64) -> NDArray[np.float32]:
    """(3, side, side) of a photograph, in [0, 1]."""
    pixels = cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)
    top, left = (length // 2 - side // 2 for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side].transpose(2, 0, 1), np.float32) / np.float32(255)


def noise(side: int, sigma: float, seed: int = 0) -> NDArray[np.float32]:
    """(3, side, side), normal."""
    return np.random.default_rng(seed).normal(0, sigma, (3, side, side)).astype(np.float32)


def denoising(count: int = 1, side: int = 16, options: DipOptions | None = None) -> Problem:
    """Noisy images that have nothing in common."""
    planes = [torch.from_numpy(0.5 + noise(side, 0.1, seed)) for seed in range(count)]
    return stacked([pose("dip-denoise", image, options or DipOptions(), index=n) for n, image in enumerate(planes)])


def tiny_fit(
    problem: Problem,
    policies: Sequence[Policy] | None = None,
    *,
    preset: Preset = TINY,
    options: DipOptions | None = None,
    indices: Sequence[int] | None = None,
    limits: dict[str, Any] | None = None,
    clock: Callable[[], float] | None = None,
    start: Any = None,
) -> Fit:
    """A Fit of the tiny network on the CPU."""
    given: dict[str, Any] = {"seconds": None, "cancelled": lambda: False, "on_progress": None, **(limits or {})}
    more: dict[str, Any] = {} if clock is None else {"clock": clock}
    return Fit(
        problem,
        preset,
        options or DipOptions(),
        policies or [NoPolicy() for _ in range(problem.count)],
        indices=indices or list(range(problem.count)),
        device=CPU,
        limits=FitLimits(**given),
        start=start,
        **more,
    )
