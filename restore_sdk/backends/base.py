"""The seam between the SDK and whatever runs a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from restore_sdk.spec import ModelSpec

FloatNCHW: TypeAlias = NDArray[np.float32]


class Backend(Protocol):
    """One network on one device. `infer` may be called from several threads at once.

    Vendor exceptions stop here and come out as BackendError. A backend never falls back silently: `report()` says what runs.
    """

    @property
    def spec(self) -> ModelSpec:
        """What the network promises."""
        ...

    def infer(self, batch: FloatNCHW, /) -> FloatNCHW:
        """Restore (N, C, H, W) float32, C = spec.channels, H and W multiples of spec.size_multiple, nominally in
        spec.value_range. Returns (N, C, H * scale, W * scale) float32, owned by the caller. Raises BackendError."""
        ...

    def warm_up(self, shapes: Iterable[tuple[int, int, int, int]], /) -> None:
        """Run once on each (N, C, H, W), so that the first real call pays nothing extra."""
        ...

    def report(self) -> Mapping[str, object]:
        """What really runs: "backend", "version", "device", "precision", and whatever else the backend knows. JSON types."""
        ...

    def close(self) -> None:
        """Release everything; a second call does nothing."""
        ...
