"""Arrays that an ONNX Runtime session on the CPU is bound to: it then makes no value of its own for each call."""

from __future__ import annotations

from typing import Any

import numpy as np

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.backends.file_backend import Vendor
from restore_sdk.backends.vendor_errors import translated

Shape = tuple[int, int, int, int]


class OnnxBound:
    """What `bind` of the backend gives."""

    def __init__(self, session: Any, names: tuple[str, str], shapes: tuple[Shape, Shape], vendor: Vendor) -> None:
        self.given: FloatNCHW = np.empty(shapes[0], np.float32)
        self.restored: FloatNCHW = np.empty(shapes[1], np.float32)
        self._vendor, self._start, self._binding = vendor, session.run_with_iobinding, session.io_binding()
        self._binding.bind_cpu_input(names[0], self.given)
        self._binding.bind_output(names[1], "cpu", 0, np.float32, shapes[1], self.restored.ctypes.data)

    def run(self) -> None:
        """Raises BackendError, DeviceMemoryError."""
        try:
            self._start(self._binding)
        except self._vendor as exc:
            raise translated("inference failed", exc, self.given.shape[2:]) from exc
