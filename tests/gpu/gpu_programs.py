"""What the GPU tests run: a small U-Net with random weights as a torch.export program. It needs PyTorch alone, no TensorRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from restore_sdk.backends.torch_cuda import GRAPHS, CudaProgramBackend
from restore_sdk.spec import ModelSpec

SPEC = ModelSpec(name="unet", method="self_supervised", task="denoise", size_multiple=4, receptive_radius=31)
SLOW = 1 << 29  # clock cycles: a quarter of a second or more on any GPU


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def tolerance(model: Path) -> float:
    return 1e-4 if model.stem == "fp32" else 1e-2


def require_torch_gpu() -> None:
    """Skip where PyTorch has no GPU to run on."""
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")


def require_kernels() -> None:
    """Skip where the kernels of device arrays cannot be compiled and launched, or PyTorch has no arrays for them."""
    require_torch_gpu()
    require_compiler()


def require_compiler() -> None:
    """Skip where cuda-core cannot compile kernels."""
    pytest.importorskip("cuda.core", reason="cuda-core is not installed (pip: cuda-core)")
    pathfinder = pytest.importorskip("cuda.pathfinder", reason="cuda-pathfinder is not installed")
    try:
        pathfinder.load_nvidia_dynamic_lib("nvrtc")
    except pathfinder.DynamicLibNotFoundError:
        pytest.skip("NVRTC is not installed (pip: nvidia-cuda-nvrtc)")


def forget_graphs(backend: CudaProgramBackend) -> None:
    """Let graphs of small shapes take the places of those that are kept, so that a large one needs room again."""
    for number in range(GRAPHS):
        backend.infer(noise(1, 3, 16, 16 + 4 * number))


def keep_busy() -> None:
    """A slow kernel on the current stream."""
    torch.cuda._sleep(SLOW)
