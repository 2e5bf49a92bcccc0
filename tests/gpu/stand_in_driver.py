"""The stand-in driver's own functions: it fails when told to, and counts what is alive."""

from __future__ import annotations

import ctypes

import pytest
from gpu_reasons import device_or_skip

from restore_sdk.cuda.driver import LIBRARY

OUT_OF_MEMORY, NOT_SUPPORTED = 2, 801


class StandIn:
    """See tests/stand_in."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.stand_in_alive.restype = ctypes.c_size_t

    def fail(self, function: str, code: int, after: int = 0) -> None:
        """The call of `function` after `after` more answers `code`."""
        self._library.stand_in_fail(function.encode(), code, after)

    def heal(self) -> None:
        """Nothing fails any more, and what failed is forgotten."""
        self._library.stand_in_heal()

    @property
    def alive(self) -> int:
        """Streams, events, graphs, and places in memory."""
        return int(self._library.stand_in_alive())


def stand_in_or_skip() -> StandIn:
    """Skips where the driver is NVIDIA's, or none."""
    device_or_skip("cuda-core").close()
    library = ctypes.CDLL(LIBRARY)
    if not hasattr(library, "stand_in_fail"):
        pytest.skip("needs the stand-in driver of tests/stand_in: this one does not fail on request")
    return StandIn(library)
