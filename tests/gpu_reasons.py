"""Why a test of the GPU cannot run here: reasons to skip it, and nothing else."""

from __future__ import annotations

from importlib import import_module

import pytest

from restore_sdk.cuda.driver import driver_reason
from restore_sdk.cuda.memory import Device
from restore_sdk.cuda.opening import CUDA, open_device
from restore_sdk.errors import DeviceUnavailableError, MissingExtraError


def device_or_skip(implementation: str) -> Device:
    """GPU 0 through `implementation`; skips where the driver sees none, and where the package is not installed.

    Nor may a PyTorch that sees no GPU, being built without CUDA or for a newer driver, be asked for one. Otherwise a GPU that
    is there must open.
    """
    reason = driver_reason() if implementation in CUDA else None
    if reason is not None:
        pytest.skip(reason)
    try:
        return open_device(implementation=implementation)
    except MissingExtraError as exc:
        pytest.skip(str(exc))
    except DeviceUnavailableError as exc:
        if implementation != "torch" or import_module("torch").cuda.is_available():
            raise
        pytest.skip(f"PyTorch sees no GPU: {exc}")


def skip_if_unsupported(error: object) -> None:
    """`error`: what became of an engine. Skips if tensorrt_rtx, which is for GeForce and RTX cards, refuses this GPU."""
    if "unsupported cc" in str(error):
        pytest.skip(str(error))
