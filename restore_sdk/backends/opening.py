"""Opens a model file on the backend and device that were asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from restore_sdk.backends.base import Backend
from restore_sdk.backends.choice import choose
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.backends.openvino import open_openvino
from restore_sdk.backends.torch_file import SUFFIX
from restore_sdk.backends.torch_program import open_torch_program
from restore_sdk.errors import OptionsError

Openers = Mapping[str, Callable[..., Backend]]

OPENERS: Openers = MappingProxyType({"onnxruntime": open_onnxruntime, "openvino": open_openvino})  # of .onnx files
PROGRAM_OPENERS: Openers = MappingProxyType({"torch": open_torch_program})  # of .pt2 files


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

    backend  for an .onnx file "onnxruntime", "openvino", or "auto": on the CPU the faster one of those installed if
             `restore doctor --measure` has measured them, else ONNX Runtime; for a .pt2 file "torch" or "auto".

    report() of what "auto" opened says why it did, as "chosen". Raises OptionsError for a backend that does not run such a file,
    and whatever that opener raises: ModelError, BackendError, MissingExtraError.
    """
    openers = PROGRAM_OPENERS if path.suffix == SUFFIX else OPENERS
    chosen: dict[str, str] = {}
    if backend == "auto":
        backend, chosen["chosen"] = _choice(path, sha256, device, threads)
    opener = openers.get(backend) if isinstance(backend, str) else None
    if opener is None:
        raise OptionsError("backend", backend, f"'auto' or one of: {', '.join(openers)}, for a {path.suffix or 'model'} file")
    return opener(path, sha256=sha256, device=device, threads=threads, spinning=spinning, **chosen)


def _choice(path: Path, sha256: str | None, device: str, threads: int | None) -> tuple[str, str]:
    if path.suffix == SUFFIX:
        return "torch", f"it runs {SUFFIX} files"
    return choose(lambda: sha256 or _digest(path), device=str(device), threads=threads)


def _digest(path: Path) -> str:
    """Empty for a file that cannot be read: its opener will say so."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
