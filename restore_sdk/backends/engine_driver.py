"""NVIDIA's driver by its full version: an engine that was built under another one is built again."""

from __future__ import annotations

import ctypes
import sys

from restore_sdk.cuda.driver import cuda_driver

LONGEST = 96  # bytes; NVML says 80 suffice


def installed_driver() -> str:
    """Such as "580.65.06", asked of the management library; where that is missing, the CUDA version that the driver supports, as
    "CUDA 13.0"; "unknown" where even that fails. Starts no context."""
    version = _from_nvml()
    if version is None:
        cuda = cuda_driver().cuda
        version = "unknown" if cuda is None else f"CUDA {cuda}"
    return version


def _from_nvml() -> str | None:
    text = ctypes.create_string_buffer(LONGEST)
    try:
        library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        if library.nvmlInit_v2():
            return None
        failed = library.nvmlSystemGetDriverVersion(text, ctypes.c_uint(LONGEST))
        library.nvmlShutdown()
    except (OSError, AttributeError):
        return None
    return None if failed else text.value.decode("ascii", "replace") or None
