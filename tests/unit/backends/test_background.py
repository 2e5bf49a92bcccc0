"""Changing over to a better backend while a worse one serves."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from played_tensorrt import PlayedTensorRT, array, played_build

from restore_sdk.backends import engine_source
from restore_sdk.backends.background import BackgroundBackend
from restore_sdk.backends.base import DeviceBackend, PipelinedBackend
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.errors import DeviceUnavailableError, EngineBuildError, RestorerClosedError
from restore_sdk.spec import ModelSpec

WAIT = 60  # seconds, for a thread that has next to nothing to do


class Marked(FunctionBackend):
    """Adds `mark` to what it is given, and takes heights of up to 16."""

    def __init__(self, spec: ModelSpec, mark: float) -> None:
        super().__init__(spec, lambda batch: batch + np.float32(mark))
        self.closed = 0

    def takes(self, shape: tuple[int, ...]) -> bool:
        return shape[2] <= 16

    def close(self) -> None:
        self.closed += 1


class Many(Marked):
    """Copies overlapped, so to speak."""

    def infer_many(self, batches: Iterable[Any], /) -> Iterator[Any]:
        return map(self.infer, batches)


class Builder:
    """Is ready when it is told to."""

    def __init__(self, made: Marked | Exception) -> None:
        self._made, self.go = made, threading.Event()
        self.cancelled: Callable[[], bool] = bool

    def __call__(self, cancelled: Callable[[], bool]) -> Any:
        self.cancelled = cancelled
        assert self.go.wait(WAIT)
        if isinstance(self._made, Exception):
            raise self._made
        return self._made


def zeros(height: int = 8) -> np.ndarray:
    return np.zeros((1, 3, height, 8), np.float32)


def mark(restored: np.ndarray) -> float:
    return float(restored[0, 0, 0, 0])


@pytest.fixture
def now(small_spec: ModelSpec) -> Marked:
    return Marked(small_spec, 1)


def test_serves_meanwhile_and_changes_over(now: Marked, small_spec: ModelSpec) -> None:
    later = Marked(small_spec, 2)
    builder = Builder(later)
    backend = BackgroundBackend(now, builder)
    assert mark(backend.infer(zeros())) == 1
    assert backend.report()["build"] == {"mode": "background", "state": "building", "error": None}
    assert not backend.wait(0.01)
    builder.go.set()
    assert backend.wait(WAIT)
    assert mark(backend.infer(zeros())) == 2
    assert mark(backend.infer(zeros(20))) == 1  # a shape that the engine does not take
    report = backend.report()
    assert (report["build"], report["meanwhile"]) == ({"mode": "background", "state": "ready", "error": None}, "function")
    backend.close()
    backend.close()
    assert (now.closed, later.closed) == (1, 1)
    with pytest.raises(RestorerClosedError):
        backend.infer(zeros())


@pytest.mark.parametrize("kind", [Marked, Many])
def test_it_changes_over_between_two_batches(kind: type[Marked], now: Marked, small_spec: ModelSpec) -> None:
    builder = Builder(kind(small_spec, 2))
    backend = BackgroundBackend(now, builder)
    assert isinstance(backend, PipelinedBackend)

    def batches() -> Iterator[np.ndarray]:
        yield zeros()
        builder.go.set()
        assert backend.wait(WAIT)
        yield from (zeros(), zeros(20), zeros(8), zeros(8))

    assert list(map(mark, backend.infer_many(batches()))) == [1, 2, 1, 2, 2]
    backend.warm_up([(1, 3, 8, 8), (1, 3, 20, 8)])
    assert backend.spec == small_spec


class OnGpu(Marked):
    """Writes its mark where it is told to, on GPU `device_index`."""

    device_index = 1

    def infer_on_device(self, given: int, restored: int, shape: tuple[int, int, int, int], stream: int, /) -> None:
        array(restored, shape)[...] = array(given, shape) + mark(self.infer(np.zeros(shape, np.float32)))


def marked_on_device(backend: BackgroundBackend, height: int = 8) -> float:
    given, restored = zeros(height), zeros(height)
    backend.infer_on_device(given.ctypes.data, restored.ctypes.data, (1, 3, height, 8), 1)
    return mark(restored)


def test_device_arrays_after_the_change_over(now: Marked, small_spec: ModelSpec) -> None:
    builder = Builder(OnGpu(small_spec, 2))
    backend = BackgroundBackend(now, builder, device_index=1)
    assert isinstance(backend, DeviceBackend)
    assert backend.device_index == 1
    with pytest.raises(DeviceUnavailableError, match=r"cuda:1.*function on cpu serves 8x8 now.*build='wait'"):
        marked_on_device(backend)
    builder.go.set()
    assert backend.wait(WAIT)
    assert marked_on_device(backend) == 2
    with pytest.raises(DeviceUnavailableError, match="8x20"):  # stays with what served before
        marked_on_device(backend, 20)
    backend.close()
    with pytest.raises(RestorerClosedError):
        marked_on_device(backend)


def test_device_arrays_before_the_change_over_where_that_works(small_spec: ModelSpec) -> None:
    builder = Builder(OnGpu(small_spec, 2))
    backend = BackgroundBackend(OnGpu(small_spec, 1), builder, device_index=1)
    assert marked_on_device(backend) == 1
    builder.go.set()
    assert backend.wait(WAIT)
    assert (marked_on_device(backend), marked_on_device(backend, 20)) == (2, 1)
    elsewhere = BackgroundBackend(OnGpu(small_spec, 1), builder, device_index=0)
    assert elsewhere.wait(WAIT)
    with pytest.raises(DeviceUnavailableError, match="cuda:0"):
        marked_on_device(elsewhere)


def test_a_build_that_fails_is_told_and_not_fatal(now: Marked) -> None:
    builder = Builder(EngineBuildError("no such layer", "export again"))
    backend = BackgroundBackend(now, builder)
    builder.go.set()
    assert backend.wait(WAIT)
    assert mark(backend.infer(zeros())) == 1
    build: Any = backend.report()["build"]
    assert (build["state"], build["error"]["type"]) == ("failed", "EngineBuildError")
    assert "no such layer" in build["error"]["message"]


def test_whatever_a_build_raises_is_told(now: Marked) -> None:
    """on_progress is the user's own."""
    builder = Builder(ZeroDivisionError("in a callback"))
    backend = BackgroundBackend(now, builder)
    builder.go.set()
    assert backend.wait(WAIT)
    error = {"type": "ZeroDivisionError", "message": "in a callback"}
    assert backend.report()["build"] == {"mode": "background", "state": "failed", "error": error}


def test_closing_stops_the_build_and_what_it_made_after_all_is_closed(now: Marked, small_spec: ModelSpec) -> None:
    later = Marked(small_spec, 2)
    builder = Builder(later)
    backend = BackgroundBackend(now, builder)
    backend.close()
    builder.go.set()
    assert backend.wait(WAIT)
    assert builder.cancelled()
    assert (now.closed, later.closed) == (1, 1)


def test_a_running_call_finishes_on_what_it_began_with(small_spec: ModelSpec) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Marked):
        def infer(self, batch: np.ndarray, /) -> np.ndarray:
            inside.set()
            assert go_on.wait(WAIT)
            assert self.closed == 0
            return super().infer(batch)

    slow = Slow(small_spec, 1)
    builder = Builder(Marked(small_spec, 2))
    backend = BackgroundBackend(slow, builder)
    got: list[float] = []
    thread = threading.Thread(target=lambda: got.append(mark(backend.infer(zeros()))))
    thread.start()
    assert inside.wait(WAIT)
    backend.close()
    assert slow.closed == 0
    go_on.set()
    thread.join()
    assert (got, slow.closed) == ([1.0], 1)
    builder.go.set()
    assert backend.wait(WAIT)


def test_tensorrt_in_the_background(
    open_played: Callable[..., Any], played: PlayedTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow_build(*arguments: Any, **others: Any) -> Any:
        assert go.wait(WAIT)
        return played_build(*arguments, **others)

    monkeypatch.setattr(engine_source, "build_engine", slow_build)
    backend = open_played(build="background")
    meanwhile = backend.infer(zeros())
    assert backend.report()["backend"] == "onnxruntime"
    go.set()
    assert backend.wait(WAIT)
    assert backend.report()["backend"] == "tensorrt"
    np.testing.assert_allclose(backend.infer(zeros()), meanwhile, atol=1e-5)
    assert backend.infer(zeros(100)).shape == (1, 3, 100, 8)
    assert backend.report()["meanwhile"] == "onnxruntime"
    assert len(played.plans) == 1
    backend.close()
    assert open_played(build="background").report()["engine"]["outcome"] == "kept"  # nothing to wait for


def test_a_build_that_tensorrt_gives_up_in_the_background(open_played: Callable[..., Any], played: PlayedTensorRT) -> None:
    played.answers["deserialize_cuda_engine"] = None
    backend = open_played(build="background")
    assert backend.wait(WAIT)
    assert backend.infer(zeros()).shape == (1, 3, 8, 8)
    build = backend.report()["build"]
    assert (build["state"], build["error"]["type"]) == ("failed", "EngineRefusedError")


LEAVING = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from restore_sdk.backends.background import BackgroundBackend

def make(cancelled):
    def work():
        while not cancelled():
            time.sleep(0.01)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()

BackgroundBackend(SimpleNamespace(spec=None), make)
print("leaving")
"""


def test_leaving_does_not_wait_for_the_build() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True, check=False, timeout=WAIT)
    assert done.stdout == "leaving\n"
