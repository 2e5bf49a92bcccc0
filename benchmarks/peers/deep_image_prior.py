"""The Deep Image Prior of deepinv (package deepinv), as its documentation runs it: ConvDecoder, a fixed number of iterations."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CHANNELS, INPUT_SIDE = 64, 2  # of its example
LEARNING_RATE = 1e-2


def is_installed() -> bool:
    """Whether deepinv can be imported."""
    return importlib.util.find_spec("deepinv") is not None


def run_deepinv(
    measured: Tensor,
    measure: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    *,
    iterations: int,
    seed: int,
    on_iterate: Callable[[int, Tensor], None],
) -> Tensor:
    """Fit `measure(x) = measured`, (1, C, h, w), for x of `shape` (C, H, W). `on_iterate` sees every iterate, from 1."""
    deepinv: Any = importlib.import_module("deepinv")
    torch.manual_seed(seed)
    seen = 0

    class Measurement(deepinv.physics.LinearPhysics):  # type: ignore[misc]
        """Its loss asks for A(x) once in an iteration."""

        def A(self, x: Tensor, **_: Any) -> Tensor:  # noqa: N802 deepinv's name
            nonlocal seen
            seen += 1
            on_iterate(seen, x.detach())
            return measure(x)

    network = deepinv.models.ConvDecoder(img_size=shape, in_size=(INPUT_SIDE, INPUT_SIDE), channels=CHANNELS)
    prior = deepinv.models.DeepImagePrior(
        network, img_size=(CHANNELS, INPUT_SIDE, INPUT_SIDE), iterations=iterations, learning_rate=LEARNING_RATE
    )
    with torch.no_grad():
        return prior(measured, Measurement())  # type: ignore[no-any-return]
