"""A TensorRT and a GPU that are played, for the tests of the runtime around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from played_tensorrt import PlayedDevice, PlayedTensorRT, played_build

from restore_sdk.backends import engine_backend, engine_kernels, engine_running, engine_source, tensorrt_engine
from restore_sdk.backends.base import Backend
from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_profile import EngineProfile


@pytest.fixture
def gpu() -> PlayedDevice:
    return PlayedDevice()


@pytest.fixture
def played(gpu: PlayedDevice, monkeypatch: pytest.MonkeyPatch) -> PlayedTensorRT:
    """TensorRT, as open_tensorrt finds it on a machine with a GPU."""
    api = PlayedTensorRT(gpu)
    monkeypatch.setattr(tensorrt_engine, "driver_reason", lambda: None)
    monkeypatch.setattr(tensorrt_engine, "find_spec", lambda name: name)
    monkeypatch.setattr(tensorrt_engine, "installed_api", lambda: "tensorrt")
    monkeypatch.setattr(tensorrt_engine, "load_api", lambda name: api)
    monkeypatch.setattr(tensorrt_engine, "open_device", lambda index, implementation: gpu)
    monkeypatch.setattr(engine_source, "build_engine", played_build)
    for module in (engine_source, engine_kernels):
        monkeypatch.setattr(module, "installed_driver", lambda: "580.65.06")
    for module in (engine_running, engine_backend):
        monkeypatch.setattr(module, "open_launcher", lambda index: gpu)
    return api


@pytest.fixture
def small_profile() -> EngineProfile:
    """8 to 64 px, batches of up to 2."""
    return EngineProfile(minimum=(1, 3, 8, 8), optimum=(1, 3, 32, 32), maximum=(2, 3, 64, 64))


@pytest.fixture
def open_played(
    played: PlayedTensorRT, small_model: Path, small_profile: EngineProfile, tmp_path: Path
) -> Iterator[Callable[..., Any]]:
    """open_played(path=..., **arguments of open_tensorrt): a backend on the played GPU, closed at the end."""
    opened: list[Backend] = []

    def open_one(path: Path = small_model, **arguments: Any) -> Backend:
        settings = {"cache": EngineCache(tmp_path / "engines"), "profile": small_profile, "threads": 1, **arguments}
        opened.append(tensorrt_engine.open_tensorrt(path, **settings))
        return opened[-1]

    yield open_one
    for backend in opened:
        backend.close()
