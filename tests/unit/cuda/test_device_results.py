"""Results on a device: what consumers of both protocols get, and when the memory goes back."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from host_launcher import HostLauncher, NoKernels

from restore_sdk.cuda.arrays import DeviceArray
from restore_sdk.cuda.launching import DeviceMemory, free_late
from restore_sdk.cuda.torch_switches import CAPTURING
from restore_sdk.errors import BackendError

STREAM = 7


@pytest.fixture
def launcher() -> HostLauncher:
    return NoKernels()


def result(launcher: HostLauncher, dtype: str = "uint16") -> DeviceArray:
    return DeviceArray(DeviceMemory(launcher, 120, STREAM), (4, 5, 3), np.dtype(dtype), launcher, STREAM)


def test_a_result_is_given_back_in_the_order_of_its_stream(launcher: HostLauncher) -> None:
    array = result(launcher)
    assert (array.shape, array.strides, array.nbytes, array.stream) == ((4, 5, 3), (30, 6, 2), 120, STREAM)
    assert repr(array) == "DeviceArray(shape=(4, 5, 3), dtype=uint16, device=cuda:0)"
    array.close()
    array.close()
    assert array.pointer == 0
    assert launcher.events == [("allocate", 120, STREAM), ("free", 120, STREAM)]
    for ask in (array.__dlpack__, lambda: array.__cuda_array_interface__):
        with pytest.raises(BufferError, match="closed"):
            ask()


def test_a_result_without_references_is_given_back(launcher: HostLauncher) -> None:
    result(launcher)
    gc.collect()
    assert launcher.events[-1] == ("free", 120, STREAM)


def test_a_consumer_keeps_the_result(launcher: HostLauncher) -> None:
    array = result(launcher)
    taken = np.from_dlpack(array)
    taken[...] = 7
    pointer = array.pointer
    del array
    gc.collect()
    assert (taken.ctypes.data, launcher.events) == (pointer, [("allocate", 120, STREAM)])
    assert (taken == 7).all()
    del taken
    gc.collect()
    assert launcher.events[-1] == ("free", 120, STREAM)


def test_close_waits_for_the_last_consumer(launcher: HostLauncher) -> None:
    with result(launcher) as array:
        first, second = np.from_dlpack(array), np.from_dlpack(array)
        second[...] = 7
    assert array.pointer == 0
    del first
    gc.collect()
    assert (second == 7).all()
    assert launcher.events == [("allocate", 120, STREAM)]
    del second
    gc.collect()
    assert launcher.events[1:] == [("free", 120, STREAM)]
    array.close()
    assert len(launcher.events) == 2


@pytest.mark.parametrize("take", [DeviceArray.__dlpack__, np.from_dlpack])
def test_consumers_that_are_gone_hold_up_nothing(launcher: HostLauncher, take: Callable[[DeviceArray], object]) -> None:
    array = result(launcher)
    for _ in range(3):
        take(array)
    gc.collect()
    assert launcher.events == [("allocate", 120, STREAM)]
    array.close()
    assert launcher.events[1:] == [("free", 120, STREAM)]


def test_an_error_after_the_last_consumer_is_silent(launcher: HostLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_pointer: int, _stream: int) -> None:
        raise BackendError("an earlier fault")

    array = result(launcher)
    taken = np.from_dlpack(array)
    array.close()
    monkeypatch.setattr(launcher, "free", gone)
    del taken
    gc.collect()  # an error in a deleter would be a warning, and a warning an error


def test_streams_of_consumers_wait_and_are_waited_for(launcher: HostLauncher) -> None:
    launcher.kind = 2
    for stream, order in ((STREAM, None), (2, 2), (None, 1), (-1, None)):
        launcher.events.clear()
        array = result(launcher)
        capsule = array.__dlpack__(stream=stream)
        ordered = [] if order is None else [("order", order, STREAM)]
        assert launcher.events[1:] == ordered
        del capsule
        array.close()
        waits = [] if stream == STREAM else [("synchronize",)]
        assert launcher.events[1:] == [*ordered, *waits, ("free", 120, STREAM)]


def test_exposed_memory_is_not_waited_for_while_a_graph_is_captured(launcher: HostLauncher) -> None:
    """CUDA forbids it, and it would end the capture."""
    array = result(launcher)
    assert array.__cuda_array_interface__
    with CAPTURING:
        array.close()
        assert len(launcher.buffers) == 1
    free_late()
    assert launcher.events[-2:] == [("synchronize",), ("free", 120, STREAM)]
    free_late()
    assert launcher.events[-1] == ("free", 120, STREAM)


def test_memory_that_could_not_be_waited_for_is_not_lost(launcher: HostLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    def captured() -> None:
        raise BackendError("somebody captures a graph")

    array = result(launcher)
    assert array.__cuda_array_interface__
    with monkeypatch.context() as patch:
        patch.setattr(launcher, "synchronize", captured)
        with pytest.raises(BackendError, match="captures"):
            array.close()
        other = result(launcher)  # has no part in it
    other.close()
    assert len(launcher.buffers) == 1
    result(launcher).close()
    assert launcher.buffers == {}


def test_the_owner_of_a_stream_lives_as_long_as_the_memory(launcher: HostLauncher) -> None:
    stream = type("Stream", (), {})()
    gone = weakref.ref(stream)
    memory = DeviceMemory(launcher, 8, STREAM, stream)
    del stream
    memory.expose()
    with CAPTURING:
        memory.close()
        del memory
        assert gone() is not None
    free_late()
    assert gone() is None


def test_a_result_by_cuda_array_interface(launcher: HostLauncher) -> None:
    array = result(launcher, "float16")
    interface = array.__cuda_array_interface__
    assert interface == {
        "version": 3,
        "shape": (4, 5, 3),
        "typestr": "<f2",
        "data": (array.pointer, False),
        "strides": None,
        "stream": STREAM,
    }
    array.close()
    assert launcher.events[-2:] == [("synchronize",), ("free", 120, STREAM)]


@pytest.mark.parametrize("options", [{"copy": True}, {"dl_device": (1, 1)}, {"dl_device": (2, 0)}])
def test_what_a_result_does_not_do(launcher: HostLauncher, options: dict[str, Any]) -> None:
    with pytest.raises(BufferError, match="without a copy"):
        result(launcher).__dlpack__(**options)


def test_the_version_follows_the_consumer(launcher: HostLauncher) -> None:
    array = result(launcher)
    assert '"dltensor"' in repr(array.__dlpack__())
    assert '"dltensor"' in repr(array.__dlpack__(max_version=(0, 8)))
    assert '"dltensor_versioned"' in repr(array.__dlpack__(max_version=(1, 3), dl_device=(1, 0), copy=False))


def test_an_error_after_the_process_let_go_is_silent(launcher: HostLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_pointer: int, _stream: int) -> None:
        raise BackendError("the driver is shutting down")

    monkeypatch.setattr(launcher, "free", gone)
    result(launcher)
    gc.collect()  # an error in __del__ would be a warning, and a warning an error
