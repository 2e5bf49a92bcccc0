"""NaN in results that stay on a GPU, on a TensorRT and a GPU that are played."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from played_tensorrt import PlayedDevice, PlayedTensorRT, array

from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.errors import BackendError, RestoreWarning

Open = Callable[..., Any]
SHAPE = (1, 3, 8, 8)


class Caller:
    """One stream and two arrays of its own."""

    def __init__(self, backend: Any, gpu: PlayedDevice) -> None:
        self.backend, self.stream = backend, gpu.stream()
        self.given, self.restored = (gpu.buffer(4 * int(np.prod(SHAPE))) for _ in range(2))

    def queue(self, value: float = 0.5) -> None:
        self.stream.synchronize()
        array(self.given.pointer, SHAPE)[...] = value
        self.backend.infer_on_device(self.given.pointer, self.restored.pointer, SHAPE, self.stream.handle)

    def result(self) -> np.ndarray:
        self.stream.synchronize()
        return array(self.restored.pointer, SHAPE).copy()

    def close(self) -> None:
        for resource in (self.stream, self.given, self.restored):  # a stream waits
            resource.close()


@pytest.fixture
def call(gpu: PlayedDevice) -> Any:
    made: list[Caller] = []

    def one(backend: Any) -> Caller:
        made.append(Caller(backend, gpu))
        return made[-1]

    yield one
    for caller in made:
        caller.close()


def test_it_is_raised_by_the_next_call_and_once(open_played: Open, played: PlayedTensorRT, call: Any) -> None:
    backend = open_played()
    one, other = call(backend), call(backend)
    one.queue()
    other.queue()
    played.overflow = lambda batch: batch[0, 0, 0, 0] > 0.9
    one.queue(1)
    assert np.isnan(one.result()).all()
    with pytest.raises(BackendError, match=r"earlier call .* overflows; pass finite='fallback'"):
        other.queue()
    for caller in (one, other):
        caller.queue()
        assert np.isfinite(caller.result()).all()
    backend.close()  # nothing left to say


def test_nothing_waits(open_played: Open, gpu: PlayedDevice, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = open_played()
    caller = call(backend)
    monkeypatch.setattr(gpu, "wait", lambda stream: pytest.fail("it waited"))
    caller.queue()
    caller.queue()
    assert gpu.waits == 0


def test_what_nobody_was_told_is_a_warning_of_close(
    open_played: Open, played: PlayedTensorRT, call: Any, gpu: PlayedDevice
) -> None:
    backend = open_played()
    caller = call(backend)
    played.overflow = lambda batch: True
    caller.queue()
    with pytest.warns(RestoreWarning, match="left on the GPU is not finite"):
        backend.close()
    caller.close()
    assert not +gpu.live


def test_garbage_in_is_not_the_networks_fault(open_played: Open, call: Any) -> None:
    backend = open_played()
    caller = call(backend)
    for value in (np.nan, np.inf, 0.5, 0.5):
        caller.queue(value)
    assert np.isfinite(caller.result()).all()


def test_ignored(
    open_played: Open, played: PlayedTensorRT, call: Any, gpu: PlayedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_played(finite="ignore")
    monkeypatch.setattr(gpu, "launch", lambda *_: pytest.fail("it looked"))
    caller = call(backend)
    played.overflow = lambda batch: True
    caller.queue()
    caller.queue()
    assert np.isnan(caller.result()).all()


def test_fallback_waits_and_puts_the_right_result_there(
    open_played: Open, played: PlayedTensorRT, call: Any, small_model: Any
) -> None:
    backend = open_played(finite="fallback")
    caller = call(backend)
    played.overflow = lambda batch: batch[0, 0, 0, 0] > 0.9
    caller.queue()
    with pytest.warns(RestoreWarning, match="overflows in its precision"):
        caller.queue(1)
    want = open_onnxruntime(small_model, device="cpu", threads=1).infer(np.ones(SHAPE, np.float32))
    np.testing.assert_array_equal(caller.result(), want)
    caller.queue()
    assert np.isfinite(caller.result()).all()
    assert backend.report()["finite"]["batches"] == 1


def test_a_wider_engine_takes_nothing_along(open_played: Open, played: PlayedTensorRT, call: Any, gpu: PlayedDevice) -> None:
    """The engine that is replaced says what nobody was told."""
    backend = open_played()
    caller = call(backend)
    played.overflow = lambda batch: batch.shape == SHAPE
    caller.queue()
    caller.result()
    with pytest.warns(RestoreWarning, match="left on the GPU"):
        backend.infer(np.zeros((1, 3, 128, 8), np.float32))
