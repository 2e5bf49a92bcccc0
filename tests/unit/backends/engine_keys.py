"""Keys of engines that no TensorRT made: the cache never looks into the bytes."""

from __future__ import annotations

from typing import Any

from restore_sdk.backends.engine_file import EngineKey

VALUES: dict[str, Any] = {
    "onnx_sha256": "ab" * 32,
    "api": "tensorrt",
    "api_version": "11.4.0.106",
    "driver": "580.65.06",
    "compute_capability": "8.9",
    "gpu": "NVIDIA L4",
    "profile": {"min": [1, 3, 64, 64], "opt": [1, 3, 512, 512], "max": [1, 3, 1024, 1024]},
    "precision": "fp16",
    "options": {"workspace_mib": None, "hardware_compatible": False},
}


def engine_key(**changes: Any) -> EngineKey:
    return EngineKey(**{**VALUES, **changes})
