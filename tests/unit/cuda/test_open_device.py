"""Choosing an implementation, and what is said where there is none."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from restore_sdk.cuda import opening
from restore_sdk.cuda.cuda_core import CudaCoreDevice
from restore_sdk.cuda.driver import driver_reason
from restore_sdk.cuda.faults import translated
from restore_sdk.cuda.memory import Device
from restore_sdk.cuda.numpy_device import NumpyDevice
from restore_sdk.cuda.opening import CUDA, open_device
from restore_sdk.cuda.pycuda_driver import PycudaDevice
from restore_sdk.errors import BackendError, DeviceMemoryError, DeviceUnavailableError, MissingExtraError, OptionsError


def missing(index: int) -> Device:
    raise MissingExtraError("cuda.core", "tensorrt")


def broken(index: int) -> Device:
    raise BackendError("it is installed but cannot be loaded")


def found(index: int) -> Device:
    return NumpyDevice()


def offer(monkeypatch: pytest.MonkeyPatch, **openers: object) -> None:
    monkeypatch.setattr(opening, "CUDA", {name.replace("_", "-"): opener for name, opener in openers.items()})


def test_auto_takes_the_first_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, cuda_core=missing, pycuda=found)
    assert isinstance(open_device(), NumpyDevice)


def test_auto_names_the_first_extra_if_none_is(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, cuda_core=missing, pycuda=missing)
    with pytest.raises(MissingExtraError) as caught:
        open_device()
    assert caught.value.extra == "tensorrt"


def test_auto_does_not_hide_a_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, cuda_core=broken, pycuda=found)
    with pytest.raises(BackendError, match="cannot be loaded"):
        open_device()


def test_numpy_is_only_had_by_name() -> None:
    assert "numpy" not in CUDA
    assert isinstance(open_device(implementation="numpy"), NumpyDevice)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(OptionsError) as caught:
        open_device(implementation="opencl")
    assert caught.value.want == "one of cuda-core, pycuda, torch, auto, numpy"


@pytest.mark.parametrize("opener", [CudaCoreDevice, PycudaDevice, open_device])
def test_without_a_driver_no_library_is_touched(opener: type[Device]) -> None:
    if driver_reason() is None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceUnavailableError) as caught:
        opener(0)
    assert (caught.value.requested, caught.value.available) == ("GPU 0", ())


@pytest.mark.parametrize(("opener", "module"), [(CudaCoreDevice, "cuda"), (PycudaDevice, "pycuda")])
def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch, opener: type[Device], module: str) -> None:
    if find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    monkeypatch.setattr("restore_sdk.cuda.cuda_core.require_driver", lambda index: None)
    monkeypatch.setattr("restore_sdk.cuda.pycuda_driver.require_driver", lambda index: None)
    with pytest.raises(MissingExtraError) as caught:
        opener(0)
    assert caught.value.extra in {"tensorrt", "pycuda"}


@pytest.mark.parametrize("text", ["CUDA_ERROR_OUT_OF_MEMORY: the API call failed", "cuMemAlloc failed: out of memory"])
def test_out_of_memory_is_known_in_both_libraries_words(text: str) -> None:
    with pytest.raises(DeviceMemoryError) as caught, translated("allocating", (RuntimeError,), 123):
        raise RuntimeError(text)
    assert caught.value.required == 123


def test_other_faults_keep_their_lines() -> None:
    with pytest.raises(BackendError) as caught, translated("copying", (RuntimeError,)):
        raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS: first\nsecond")
    assert caught.value.log == ("CUDA_ERROR_ILLEGAL_ADDRESS: first", "second")
    assert not isinstance(caught.value, DeviceMemoryError)


def test_our_own_mistakes_pass_through() -> None:
    with pytest.raises(KeyError), translated("copying", (RuntimeError,)):
        raise KeyError("no such thing")
