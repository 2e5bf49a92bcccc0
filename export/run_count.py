"""How often a network has run within a step of an export, for whoever waits for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from restore_sdk.backends.base import Backend, FloatNCHW
from restore_sdk.backends.function import FunctionBackend


def uncounted(runs: int) -> None:
    """Nobody waits."""


def numbered(tell: Callable[[int], None]) -> Callable[[], None]:
    """A function that tells 1 at its first call, 2 at its second."""
    numbers = itertools.count(1)
    return lambda: tell(next(numbers))


def counting(backend: Backend, tell: Callable[[int], None]) -> Backend:
    """`backend`, telling of each run how many there were; who opened `backend` closes it."""
    ran = numbered(tell)

    def infer(batch: FloatNCHW) -> FloatNCHW:
        restored = backend.infer(batch)
        ran()
        return restored

    return FunctionBackend(backend.spec, infer)
