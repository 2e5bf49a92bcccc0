"""Whether NVIDIA's driver is here and sees a GPU, asked of the driver alone: other libraries may crash without one."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

from restore_sdk.errors import DeviceUnavailableError

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@dataclass(frozen=True, slots=True)
class CudaDriver:
    """NVIDIA's driver library. `cuda`: the newest CUDA it supports, such as "13.0"."""

    found: bool
    cuda: str | None
    detail: str


def cuda_driver() -> CudaDriver:
    """Whether NVIDIA's driver library can be loaded, and what it supports. Never raises; starts no context."""
    number = ctypes.c_int(0)
    try:
        failed = ctypes.CDLL(LIBRARY).cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError) as exc:
        return CudaDriver(found=False, cuda=None, detail=str(exc))
    if failed:
        return CudaDriver(found=True, cuda=None, detail=f"{LIBRARY} answers with error {failed}")
    return CudaDriver(found=True, cuda=f"{number.value // 1000}.{number.value % 1000 // 10}", detail=LIBRARY)


def driver_reason() -> str | None:
    """None if a driver and a GPU are usable, else why not, in words. Starts no context."""
    try:
        library = ctypes.CDLL(LIBRARY)
        count = _device_count(library)
    except OSError as exc:
        return f"NVIDIA's driver is not installed ({exc})"
    except AttributeError as exc:
        return f"{LIBRARY} is not NVIDIA's driver ({exc})"
    if isinstance(count, str):
        return count
    return None if count > 0 else "NVIDIA's driver sees no GPU (is one hidden by CUDA_VISIBLE_DEVICES?)"


def require_driver(index: int) -> None:
    """Raises DeviceUnavailableError, with the reason, where no GPU can be used at all."""
    reason = driver_reason()
    if reason is not None:
        raise DeviceUnavailableError(f"GPU {index}", (), f"{reason}; install the driver, or run on the CPU")


def _device_count(library: ctypes.CDLL) -> int | str:
    """The number of GPUs, or what failed."""
    count = ctypes.c_int(0)
    for name, arguments in (("cuInit", (0,)), ("cuDeviceGetCount", (ctypes.byref(count),))):
        code = getattr(library, name)(*arguments)
        if code:
            return f"NVIDIA's driver fails in {name}: {_error_name(library, code)}"
    return count.value


def _error_name(library: ctypes.CDLL, code: int) -> str:
    """CUDA_ERROR_..., with its number."""
    name = ctypes.c_char_p()
    library.cuGetErrorName(code, ctypes.byref(name))
    return f"{(name.value or b'unknown error').decode()} ({code})"
