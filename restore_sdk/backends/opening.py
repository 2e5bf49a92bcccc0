"""Opens a model file on the backend and device that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from restore_sdk.backends.base import Backend
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.errors import OptionsError

OPENERS: Mapping[str, Callable[..., Backend]] = MappingProxyType({"onnxruntime": open_onnxruntime})
AUTO = "onnxruntime"  # runs every model on every machine


def open_backend(
    path: Path,
    *,
    sha256: str | None = None,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = False,
) -> Backend:
    """Open the model at `path`; the arguments mean what they mean to the backend's own opener.

    backend  "onnxruntime", or "auto" for the one that suits this machine.

    Raises OptionsError for an unknown backend, and whatever that opener raises: ModelError, BackendError, MissingExtraError.
    """
    opener = OPENERS.get(AUTO if backend == "auto" else backend)
    if opener is None:
        raise OptionsError("backend", backend, f"'auto' or one of: {', '.join(OPENERS)}")
    return opener(path, sha256=sha256, device=device, threads=threads, spinning=spinning)
