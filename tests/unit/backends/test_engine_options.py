"""Builder options are checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from restore_sdk.backends import engine_api
from restore_sdk.backends.engine_api import driver_works, load_api
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.errors import BackendError, MissingExtraError, OptionsError


def test_every_option_is_in_the_json() -> None:
    options = EngineOptions(api="tensorrt_rtx", workspace_mib=512, optimization_level=5, compute_capabilities=("8.6", "12.0"))
    assert options.as_json() == {
        "api": "tensorrt_rtx",
        "workspace_mib": 512,
        "optimization_level": 5,
        "hardware_compatible": False,
        "compute_capabilities": ["8.6", "12.0"],
    }


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"api": "tensorrt_lean"}, "api"),
        ({"api": "tensorrt", "workspace_mib": 0}, "workspace"),
        ({"api": "tensorrt", "optimization_level": 6}, "opt-level"),
        ({"api": "tensorrt", "optimization_level": True}, "opt-level"),
        ({"api": "tensorrt_rtx", "hardware_compatible": True}, "hardware-compatible"),
        ({"api": "tensorrt", "compute_capabilities": ("8.6",)}, "compute-capability"),
        ({"api": "tensorrt_rtx", "compute_capabilities": ("86",)}, "compute-capability"),
    ],
)
def test_refused(values: dict[str, Any], name: str) -> None:
    with pytest.raises(OptionsError) as caught:
        EngineOptions(**values)
    assert caught.value.name == name


def test_a_missing_module_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match=r"restore-sdk\[tensorrt\]"):
        load_api("tensorrt")


def test_a_module_without_our_names_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        __version__ = "8.6.1"
        Builder = type("Builder", (), {"create_network": None})

    monkeypatch.setattr(engine_api, "require", lambda module, extra: Old)
    with pytest.raises(BackendError, match=r"tensorrt 8\.6\.1 lacks Builder\.create_builder_config.*pip install -U"):
        load_api("tensorrt")


def test_a_module_whose_libraries_do_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: str, extra: str) -> None:
        raise OSError("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.setattr(engine_api, "require", broken)
    with pytest.raises(BackendError, match=r"cannot be loaded \(libnvinfer"):
        load_api("tensorrt")


def test_the_driver_is_asked_without_ending_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(driver_works(), bool)

    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", absent)
    assert not driver_works()
