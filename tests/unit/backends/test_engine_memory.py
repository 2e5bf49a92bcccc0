"""Where the GPU's memory does not suffice for all execution contexts: on a TensorRT and a GPU that are played."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from played_tensorrt import PlayedDevice, PlayedTensorRT, array

from restore_sdk.errors import BackendError, DeviceMemoryError
from restore_sdk.options import TileOptions
from restore_sdk.restorer import Restorer

Open = Callable[..., Any]
SCRATCH = 800  # bytes for each pixel: far more than the images take
TILE = SCRATCH * 64 * 64  # bytes for the largest tile of the image below
IMAGE = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
CORES = TileOptions(mode="exact", core=40)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.fixture(autouse=True)
def _much_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("played_tensorrt.SCRATCH_PER_PIXEL", SCRATCH)


def restored(backend: Any) -> tuple[np.ndarray, object]:
    """The image, and what was made smaller for it."""
    with closing(backend):
        restorer = Restorer(backend)
        return np.asarray(restorer.restore(IMAGE, tile=CORES)), restorer.report()["recovered"]


@pytest.mark.parametrize("contexts", [1, 3])
@pytest.mark.parametrize(("room", "recovered"), [(1.9, None), (1.2, None), (0.6, {"from": 36, "to": 16})])
def test_contexts_rest_before_tiles_get_smaller(
    open_played: Open, gpu: PlayedDevice, contexts: int, room: float, recovered: object
) -> None:
    """However many contexts there are: room for one tile is enough."""
    want, _ = restored(open_played(contexts=contexts))
    gpu.total = int(room * TILE)
    got, smaller = restored(open_played(contexts=contexts))
    np.testing.assert_array_equal(got, want)
    assert smaller == recovered


def test_what_does_not_fit_leaves_all_memory_free(open_played: Open, gpu: PlayedDevice) -> None:
    backend = open_played()
    list(backend.infer_many([noise(1, 3, 32, 32)] * 3))
    assert gpu.used > 3 * SCRATCH * 32 * 32
    gpu.total = TILE
    with pytest.raises(DeviceMemoryError):
        backend.infer(noise(1, 3, 64, 64))
    assert gpu.used == 0
    assert backend.infer(noise(1, 3, 32, 32)).shape == (1, 3, 32, 32)


class Caller:
    """Batches on a stream of its own, in device memory of its own."""

    def __init__(self, backend: Any, gpu: PlayedDevice) -> None:
        self._backend, self._gpu, self._stream = backend, gpu, gpu.stream()
        self._given, self._restored = gpu.buffer(TILE), gpu.buffer(TILE)

    def infer(self, batch: np.ndarray) -> np.ndarray:
        array(self._given.pointer, batch.shape)[:] = batch
        self._backend.infer_on_device(self._given.pointer, self._restored.pointer, batch.shape, self._stream.handle)
        self._stream.synchronize()
        return array(self._restored.pointer, batch.shape).copy()


def test_a_callers_stream_gets_what_idle_contexts_hold(open_played: Open, gpu: PlayedDevice) -> None:
    backend, batch = open_played(contexts=2), noise(1, 3, 64, 64)
    want = [backend.infer(batch) for _ in range(5)][-1]  # both slots have a graph, which refers to their scratch memory
    graphs = backend.report()["engine"]["pipeline"]["graph_launches"]
    assert graphs > 0
    callers = [Caller(backend, gpu) for _ in range(2)]
    gpu.total = gpu.used + TILE // 2  # so that none of it is left for a third context
    for caller in (*callers, *callers):
        np.testing.assert_array_equal(caller.infer(batch), want)
    gpu.total = 6 * TILE
    np.testing.assert_array_equal(backend.infer(batch), want)
    assert backend.report()["engine"]["pipeline"]["graph_launches"] == graphs  # they went with the memory


def test_a_callers_batch_that_does_not_fit_at_all(open_played: Open, gpu: PlayedDevice) -> None:
    backend = open_played()
    caller = Caller(backend, gpu)
    caller.infer(noise(1, 3, 32, 32))
    backend.infer(noise(1, 3, 32, 32))
    gpu.total = 2 * TILE + TILE // 2
    with pytest.raises(DeviceMemoryError) as caught:
        caller.infer(noise(1, 3, 64, 64))
    assert (caught.value.required, caught.value.free, caught.value.tile) == (TILE, TILE // 2, (64, 64))
    assert gpu.used == 2 * TILE  # the caller's own
    assert np.isfinite(caller.infer(noise(1, 3, 32, 32))).all()


def test_a_pass_that_failed_gives_its_memory_back_too(open_played: Open, gpu: PlayedDevice, played: PlayedTensorRT) -> None:
    """It is told by the caller's stream and not by the batch that needs the memory."""
    backend = open_played(contexts=1)

    def broken() -> None:
        raise BackendError("an earlier pass failed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "mark", lambda _stream: broken)
        Caller(backend, gpu).infer(noise(1, 3, 64, 64))
    gpu.total = gpu.used + TILE // 2
    assert backend.infer(noise(1, 3, 64, 64)).shape == (1, 3, 64, 64)


def test_a_pass_is_not_over_because_waiting_for_it_failed(open_played: Open, gpu: PlayedDevice) -> None:
    """Its scratch memory may still be in use, so whoever comes next waits again."""
    backend = open_played(contexts=1)
    asked: list[str] = []

    def waited() -> None:
        asked.append("wait")
        if len(asked) == 1:
            raise BackendError("somebody captures a graph")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "mark", lambda _stream: waited)
        Caller(backend, gpu).infer(noise(1, 3, 32, 32))
    other = Caller(backend, gpu)
    with pytest.raises(BackendError, match="captures"):
        other.infer(noise(1, 3, 32, 32))
    assert np.isfinite(other.infer(noise(1, 3, 32, 32))).all()
    assert asked == ["wait", "wait"]
