"""PyTorch on a CUDA that is played, and a program on it."""

from __future__ import annotations

from typing import Any

import pytest
from played_program import blur, opened
from played_torch import played_torch

from restore_sdk.backends.torch_cuda import CudaProgramBackend


@pytest.fixture
def played() -> Any:
    return played_torch(blur)


@pytest.fixture
def backend(played: Any, monkeypatch: pytest.MonkeyPatch) -> CudaProgramBackend:
    monkeypatch.setattr("restore_sdk.cuda.torch_device.require", lambda _module, _extra: played)
    return opened(played)
