"""A device by name: CUDA through cuda-core, pycuda or PyTorch, or host memory where that is asked for by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from restore_sdk.cuda.cuda_core import CudaCoreDevice
from restore_sdk.cuda.memory import Device
from restore_sdk.cuda.numpy_device import NumpyDevice
from restore_sdk.cuda.pycuda_driver import PycudaDevice
from restore_sdk.cuda.torch_device import TorchDevice
from restore_sdk.errors import MissingExtraError, OptionsError

# "auto" takes the first that is installed
CUDA: Mapping[str, Callable[[int], Device]] = MappingProxyType(
    {"cuda-core": CudaCoreDevice, "pycuda": PycudaDevice, "torch": TorchDevice}
)


def open_device(index: int = 0, *, implementation: str = "auto") -> Device:
    """GPU `index` on its primary context, which torch, ONNX Runtime and TensorRT share.

    implementation: "cuda-core", "pycuda", "torch", "auto" for the first of them that is installed, or "numpy": host memory,
    never chosen unasked. Raises DeviceUnavailableError where there is no driver or no such GPU, MissingExtraError, BackendError.
    """
    if implementation not in {*CUDA, "auto", "numpy"}:
        raise OptionsError("implementation", implementation, f"one of {', '.join([*CUDA, 'auto', 'numpy'])}")
    if implementation == "numpy":
        return NumpyDevice()
    return _first_installed(index) if implementation == "auto" else CUDA[implementation](index)


def _first_installed(index: int) -> Device:
    missing = []
    for opener in CUDA.values():
        try:
            return opener(index)
        except MissingExtraError as exc:
            missing.append(exc)
    raise missing[0]
