"""Writing results: checked before the long work starts, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from export.errors import OutputError
from training.engine.files import replacing


def check_target(path: Path, suffix: str = ".onnx") -> None:
    """Raise OutputError now if `write_whole` would fail later: wrong suffix, no folder, a folder in its place, no permission."""
    if path.suffix != suffix:
        raise OutputError(path, f"its name must end in {suffix}; rename it")
    if path.is_dir():
        raise OutputError(path, "it is a folder; pass a file name")
    if not path.parent.is_dir():
        raise OutputError(path, f"the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(path, f"the folder {path.parent} is not writable; choose another")


def write_whole(path: Path, content: bytes) -> None:
    """Write beside `path` and rename, so that a reader never sees half a file. Raises OutputError."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as exc:
        raise OutputError(path, f"{exc.strerror or exc}; free the space or choose another folder") from exc
