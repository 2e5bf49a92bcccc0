"""A backend made of a numpy function: for tests, demos, and filters that users write themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.spec import ModelSpec


class FunctionBackend:
    """Runs `function` on float32 (N, C, H, W); `spec` states its multiple, radius and scale. Other floats that it returns become
    float32."""

    def __init__(self, spec: ModelSpec, function: Callable[[FloatNCHW], FloatNCHW]) -> None:
        self._spec, self._function = spec, function

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def infer(self, batch: FloatNCHW, /) -> FloatNCHW:
        restored = self._function(batch)
        if isinstance(restored, np.ndarray) and restored.dtype.kind == "f" and restored.dtype != np.float32:
            return restored.astype(np.float32)
        return restored

    def warm_up(self, shapes: Iterable[tuple[int, int, int, int]], /) -> None:
        for shape in shapes:
            self.infer(np.zeros(shape, np.float32))

    def report(self) -> Mapping[str, object]:
        return {"backend": "function", "version": np.__version__, "device": "cpu", "precision": "fp32"}

    def close(self) -> None:
        """Nothing to release."""
