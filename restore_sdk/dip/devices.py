"""Where a fit runs, and PyTorch's own errors as ours."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import ParamSpec, TypeVar

import torch

from restore_sdk.cuda.vendor_words import OUT_OF_MEMORY
from restore_sdk.dip.options import Precision
from restore_sdk.errors import BackendError, DeviceMemoryError, DeviceUnavailableError, OptionsError

P = ParamSpec("P")
R = TypeVar("R")

_NAMES = re.compile(r"auto|cpu|cuda(:\d+)?")


def dip_device(name: str, precision: Precision, *, compiled: bool = False) -> torch.device:
    """The device for "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N", where such a fit can
    run. Raises OptionsError, DeviceUnavailableError."""
    if not isinstance(name, str) or not _NAMES.fullmatch(name):
        raise OptionsError("device", name, "'auto', 'cpu', 'cuda' or 'cuda:N'")
    count = torch.cuda.device_count() if name != "cpu" and torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= count:
        available = ["cpu", *(f"cuda:{number}" for number in range(count))]
        raise DeviceUnavailableError(name, available, "install a PyTorch with CUDA and NVIDIA's driver, or pass device='cpu'")
    if name == "cpu" and precision != "fp32":
        raise OptionsError("precision", precision, "'fp32' on the CPU, where the others are slower, bf16 eight times")
    if name == "cpu" and compiled:
        raise OptionsError("compiled", compiled, "False on the CPU, where compiled networks take 1.3 times as long")
    if compiled and not _has_triton():
        raise OptionsError("compiled", compiled, "False, or install triton, which torch.compile makes a GPU's kernels with")
    return torch.device(name)


def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def load_optimizer() -> None:
    """Have PyTorch load what its first optimiser needs, 800 modules in about a second: no image's time should pay for it."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])


class _CallbackError(Exception):
    """What a callback raised, on its way past the translation of PyTorch's errors."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def untranslated(callback: Callable[P, R]) -> Callable[P, R]:
    """The callback, whose own errors come out of errors_translated() as they are."""

    def call(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return callback(*arguments, **named)
        except Exception as exc:
            raise _CallbackError(exc) from exc

    return call


@contextmanager
def callbacks_errors() -> Iterator[None]:
    """Errors of callbacks come out as they were raised."""
    try:
        yield
    except _CallbackError as exc:
        raise exc.error from None


@contextmanager
def unaffected(device: torch.device) -> Iterator[None]:
    """A fit needs gradients, and its numbers are not to depend on what the caller's thread has set: no_grad(), inference_mode(),
    autocast(), a default device."""
    elsewhere = torch.get_default_device().type != "cpu"
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        torch.device("cpu") if elsewhere else nullcontext(),
    ):
        yield


@contextmanager
def errors_translated(tile: tuple[int, int]) -> Iterator[None]:
    """PyTorch's failures inside as DeviceMemoryError or BackendError; errors of ours and of callbacks pass through."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as exc:
        raise DeviceMemoryError(None, None, tile) from exc
    except RuntimeError as exc:
        if OUT_OF_MEMORY.search(str(exc)):
            raise DeviceMemoryError(None, None, tile) from exc
        raise BackendError("the fit failed; PyTorch says:", str(exc).splitlines()) from exc
