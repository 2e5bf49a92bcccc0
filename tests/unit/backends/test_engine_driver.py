"""The driver's version, asked of libraries that are played."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from restore_sdk.backends.engine_driver import installed_driver


def install(monkeypatch: pytest.MonkeyPatch, libraries: dict[str, Any]) -> None:
    def load(name: str) -> Any:
        for part, library in libraries.items():
            if part in name:
                return library
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", load)


def nvml(init: int, answer: int) -> Any:
    def version(text: Any, length: Any) -> int:
        text.value = b"580.65.06"
        return answer

    return SimpleNamespace(nvmlInit_v2=lambda: init, nvmlSystemGetDriverVersion=version, nvmlShutdown=lambda: 0)


def cuda(answer: int) -> Any:
    def version(number: Any) -> int:
        number._obj.value = 13020
        return answer

    return SimpleNamespace(cuDriverGetVersion=version)


@pytest.mark.parametrize(
    ("libraries", "version"),
    [
        ({"nv": nvml(0, 0)}, "580.65.06"),
        ({"ml": nvml(0, 0), "cuda": cuda(0)}, "580.65.06"),
        ({"ml": nvml(9, 0), "cuda": cuda(0)}, "CUDA 13.2"),
        ({"ml": nvml(0, 9), "cuda": cuda(0)}, "CUDA 13.2"),
        ({"ml": object(), "cuda": cuda(0)}, "CUDA 13.2"),
        ({"cuda": cuda(0)}, "CUDA 13.2"),
        ({"cuda": cuda(100)}, "unknown"),
        ({"cuda": object()}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_installed_driver(libraries: dict[str, Any], version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, libraries)
    assert installed_driver() == version
