"""A network of numpy shifts whose answer does not depend on where a tile lies, and images of every kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.gigapixel import restore_huge_file
from restore_sdk.gigapixel_cells import network_of
from restore_sdk.host_images import HostImages
from restore_sdk.image_files import FileReport
from restore_sdk.options import TileOptions
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

RADIUS = 5
CORE = 64


def spread(batch: np.ndarray) -> np.ndarray:
    """Radius 5, zero padding: the weighted sum of five pixels."""
    padded = np.pad(batch, ((0, 0), (0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS)))
    height, width = batch.shape[2:]
    shifts = ((0, RADIUS, 0.1), (2 * RADIUS, RADIUS, 0.15), (RADIUS, 0, 0.2), (RADIUS, 2 * RADIUS, 0.25), (RADIUS, RADIUS, 0.3))
    return sum(np.float32(weight) * padded[..., y : y + height, x : x + width] for y, x, weight in shifts)


def doubled(batch: np.ndarray) -> np.ndarray:
    """The same, each pixel as 2 x 2."""
    return spread(batch).repeat(2, axis=2).repeat(2, axis=3)


def backend(spec: ModelSpec, function: Callable[[np.ndarray], np.ndarray] = spread, **changes: Any) -> FunctionBackend:
    facts = {"receptive_radius": RADIUS, "size_multiple": 4, "scale": 1, "channels": 3, "min_size": 1, "value_range": (0.0, 1.0)}
    return FunctionBackend(dataclasses.replace(spec, **{**facts, **changes}), function)


def restore(
    running: FunctionBackend,
    source: Path,
    target: Path,
    *,
    core: int | None = CORE,
    host: HostImages | None = None,
    **wishes: Any,
) -> FileReport:
    arguments = {
        "options": TileOptions(core=core),
        "clip": True,
        "overwrite": False,
        "metadata": "keep",
        "quality": None,
        **wishes,
    }
    return restore_huge_file(source, target, network_of(running, host or HostImages(running.spec)), **arguments)[0]


def whole(running: FunctionBackend, image: np.ndarray) -> np.ndarray:
    """What whole-image inference makes of it."""
    return Restorer(running).restore(image, tile=None)


def picture(height: int, width: int, channels: int = 3, dtype: Any = np.uint8) -> np.ndarray:
    shape = (height, width, channels) if channels else (height, width)
    noise = np.random.default_rng(height * width).random(shape, np.float32)
    if np.dtype(dtype).kind == "f":
        return noise.astype(dtype)
    return (noise * np.iinfo(dtype).max).astype(dtype)


def left_beside(target: Path) -> list[str]:
    """Hidden files and folders beside the target."""
    return sorted(path.name for path in target.parent.iterdir() if path.name.startswith("."))
