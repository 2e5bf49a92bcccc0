"""Why there is no GPU, in words; asked of stand-ins for the driver's library."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from restore_sdk.cuda import driver
from restore_sdk.cuda.driver import driver_reason, require_driver
from restore_sdk.errors import DeviceUnavailableError


class StandIn:
    """The three functions that are asked: each call answers as told."""

    def __init__(self, *, init: int = 0, gpus: int = 1) -> None:
        self.init, self.gpus = init, gpus

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.init

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.gpus
        return 0

    def cuGetErrorName(self, code: int, name: Any) -> int:  # noqa: N802
        name._obj.value = {100: b"CUDA_ERROR_NO_DEVICE", 803: b"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"}.get(code)
        return 0


@pytest.mark.parametrize(
    ("library", "words"),
    [
        (StandIn(gpus=2), None),
        (StandIn(init=100), "cuInit: CUDA_ERROR_NO_DEVICE (100)"),
        (StandIn(init=803), "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)"),
        (StandIn(init=5), "unknown error (5)"),
        (StandIn(gpus=0), "sees no GPU"),
        (object(), "is not NVIDIA's driver"),
    ],
)
def test_the_reason_is_what_the_driver_says(monkeypatch: pytest.MonkeyPatch, library: object, words: str | None) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    reason = driver_reason()
    assert reason is None if words is None else words in str(reason)


def test_no_library_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-that-is-nowhere.so.1")
    assert "not installed" in str(driver_reason())
    with pytest.raises(DeviceUnavailableError, match=r"GPU 2.*not installed.*run on the CPU") as caught:
        require_driver(2)
    assert caught.value.requested == "GPU 2"
