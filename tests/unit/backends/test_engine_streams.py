"""Batches on the streams of callers, on a TensorRT and a GPU that are played."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from played_tensorrt import PlayedDevice, PlayedTensorRT, array

from restore_sdk.backends.base import DeviceBackend
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.errors import BackendError

Open = Callable[..., Any]
SaveModel = Callable[..., Path]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def on_device(backend: Any, gpu: PlayedDevice, stream: Any, batch: np.ndarray) -> np.ndarray:
    """Through infer_on_device: device memory here is host memory."""
    given, restored = gpu.buffer(batch.nbytes), gpu.buffer(batch.nbytes)
    array(given.pointer, batch.shape)[:] = batch
    backend.infer_on_device(given.pointer, restored.pointer, batch.shape, stream.handle)
    stream.synchronize()
    result = array(restored.pointer, batch.shape).copy()
    given.close()
    restored.close()
    return result


def test_on_callers_streams(open_played: Open, gpu: PlayedDevice, played: PlayedTensorRT) -> None:
    backend = open_played(contexts=2)
    assert isinstance(backend, DeviceBackend)
    assert backend.device_index == 0
    streams = [gpu.stream() for _ in range(3)]
    for side in (8, 16, 128):  # the last one is outside the range
        batch = noise(1, 3, side, side)
        want = backend.infer(batch)
        for stream in streams:
            np.testing.assert_array_equal(on_device(backend, gpu, stream, batch), want)
    assert backend.report()["engine"]["contexts"] == 2 + 1
    with pytest.raises(BackendError, match="multiples of 4"):
        backend.infer_on_device(0, 0, (1, 3, 10, 8), streams[0].handle)


def test_no_graphs_on_callers_streams(open_played: Open, gpu: PlayedDevice, played: PlayedTensorRT) -> None:
    """The stream may be the default one, which cannot be captured."""
    played.become_rtx()
    backend = open_played(options=EngineOptions(api="tensorrt_rtx"))
    batch = noise(1, 3, 8, 8)
    backend.infer(batch)
    on_device(backend, gpu, gpu.stream(), batch)
    assert [context.config.cuda_graph_strategy for context in played.contexts] == ["whole graph", "disabled"]


def test_a_stream_that_takes_over_a_context_waits(open_played: Open, gpu: PlayedDevice) -> None:
    backend = open_played(contexts=1)
    first, second = gpu.stream(), gpu.stream()
    batch = noise(1, 3, 8, 8)
    waits = []
    for stream in (first, first, second, first):
        on_device(backend, gpu, stream, batch)
        waits.append(gpu.waits)
    assert waits == [0, 0, 1, 2]
    backend.close()
    assert gpu.waits == 3  # what a caller queued is over before its scratch memory goes
