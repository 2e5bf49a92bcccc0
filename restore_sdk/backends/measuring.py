"""Measures the CPU runtimes that are installed against one another, on one model, when someone asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from types import MappingProxyType

import numpy as np

from restore_sdk.backends.base import Backend, FloatNCHW
from restore_sdk.backends.choice import CANDIDATES, FIRST, installed
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.backends.openvino import open_openvino
from restore_sdk.spec import ModelSpec

OPENERS: Mapping[str, Callable[..., Backend]] = MappingProxyType({"onnxruntime": open_onnxruntime, "openvino": open_openvino})
SIDE = 256  # pixels, about that of a tile
ROUNDS = 7


def measure(
    path: Path, *, sha256: str | None = None, threads: int | None = None, side: int = SIDE, rounds: int = ROUNDS
) -> dict[str, float]:
    """Seconds per megapixel of each installed backend on the .onnx model at `path`: the median of `rounds` runs on a square of
    about `side` pixels, taken in turns, so that whatever else the machine does falls on all alike. Raises what the openers raise.
    """
    names = [name for name in CANDIDATES if name in installed()] or [FIRST]  # without any, its opener says what to install
    times: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as opened:
        backends = {}
        for name in names:
            backends[name] = OPENERS[name](path, sha256=sha256, device="cpu", threads=threads)
            opened.callback(backends[name].close)
        batch = _batch(backends[names[0]].spec, side)
        for backend in backends.values():
            backend.infer(batch)
        for _ in range(rounds):
            for name, backend in backends.items():
                times[name].append(_seconds(backend, batch))
    pixels = batch.shape[2] * batch.shape[3]
    return {name: median(taken) / pixels * 1e6 for name, taken in times.items()}


def _batch(spec: ModelSpec, side: int) -> FloatNCHW:
    side = max(1, side // spec.size_multiple) * spec.size_multiple
    return np.random.default_rng(0).random((1, spec.channels, side, side), np.float32)


def _seconds(backend: Backend, batch: FloatNCHW) -> float:
    started = time.perf_counter()
    backend.infer(batch)
    return time.perf_counter() - started
