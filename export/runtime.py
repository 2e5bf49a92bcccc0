"""A model that is not on disk yet, opened as it will be used: by restore_sdk's own ONNX Runtime backend on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from export.stamp import stamped
from restore_sdk.backends.base import Backend
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.spec import ModelSpec


@contextmanager
def opened(content: bytes, spec: ModelSpec, *, threads: int | None = None) -> Iterator[Backend]:
    """Backend on `content`, an ONNX model, under `spec` whatever it was stamped with. Raises what open_onnxruntime does."""
    with on_disk(content, spec) as path:
        backend = open_onnxruntime(path, device="cpu", threads=threads)
        try:
            yield backend
        finally:
            backend.close()


@contextmanager
def on_disk(content: bytes, spec: ModelSpec) -> Iterator[Path]:
    """Path of `content` stamped with `spec`, in a folder that is gone afterwards."""
    with TemporaryDirectory(prefix="restore-export-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(stamped(content, spec))
        yield path
