"""A program of the torch backend on a CUDA that is played, for its tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from restore_sdk.backends.torch_cuda import CudaProgram, CudaProgramBackend
from restore_sdk.backends.torch_program import VENDOR
from restore_sdk.spec import ModelSpec

SPEC = ModelSpec(name="any", method="self_supervised", task="denoise", size_multiple=2)


def blur(given: Any) -> Any:
    """The network."""
    return torch.nn.functional.avg_pool2d(given, 3, 1, 1) * 1.5


def opened(played: Any) -> CudaProgramBackend:
    """The backend on `played`, a played_torch()."""
    return CudaProgramBackend(CudaProgram(played, played.cuda.module, "cuda:0"), SPEC, {"backend": "torch"}, VENDOR)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def on_device(backend: CudaProgramBackend, batch: np.ndarray, stream: int) -> np.ndarray:
    """Through infer_on_device: device memory is host memory."""
    restored = np.full_like(batch, np.nan)
    backend.infer_on_device(batch.ctypes.data, restored.ctypes.data, batch.shape, stream)
    return restored
