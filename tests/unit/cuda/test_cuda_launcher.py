"""What CudaLauncher asks of cuda-core and the driver, by a recorder in their place: our calls, and no word on NVIDIA's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from restore_sdk.cuda import launching
from restore_sdk.cuda.launching import CudaLauncher
from restore_sdk.errors import BackendError

DRIVER = (
    *("cuMemAllocAsync", "cuMemFreeAsync", "cuEventCreate", "cuEventRecord", "cuStreamWaitEvent", "cuEventDestroy"),
    *(
        "cuEventSynchronize",
        "cuCtxSynchronize",
        "cuStreamSynchronize",
        "cuMemcpyDtoHAsync",
        "cuMemcpyHtoDAsync",
        "cuPointerGetAttribute",
    ),
)


class Recorder:
    """CudaCoreDevice: writes down each call of the driver and each launch, and answers 42. `fails`: what answers an error."""

    def __init__(self, index: int) -> None:
        self.index, self.capability = index, (9, 0)
        self.calls: list[tuple[object, ...]] = []
        self.fails, self.depth = "", 0
        functions = {name: self._recording(name) for name in DRIVER}
        flags = SimpleNamespace(CU_EVENT_DISABLE_TIMING="no timing", CU_EVENT_BLOCKING_SYNC="asleep")
        attributes = SimpleNamespace(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL="ordinal")
        self.driver = SimpleNamespace(CUevent_flags=flags, CUpointer_attribute=attributes, **functions)
        self.core = SimpleNamespace(
            LaunchConfig=lambda grid, block: (grid, block),
            Stream=SimpleNamespace(from_handle=lambda handle: f"stream {handle}"),
            launch=self._recording("launch"),
        )

    def call(self, action: str, answer: tuple[int, object], required: int | None = None) -> object:
        if answer[0]:
            raise BackendError(f"{action} failed")
        return answer[1]

    @contextmanager
    def current(self, _action: str) -> Iterator[None]:
        self.depth += 1
        yield
        self.depth -= 1

    def _recording(self, name: str) -> Any:
        def record(*arguments: object) -> tuple[int, int]:
            assert self.depth, f"{name} without a current context"
            self.calls.append((name, *arguments))
            return int(name == self.fails), 42

        return record


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> CudaLauncher:
    monkeypatch.setattr(launching, "CudaCoreDevice", Recorder)
    monkeypatch.setattr(
        launching, "compile_kernels", lambda core, architecture: SimpleNamespace(get_kernel=f"{architecture} {{}}".format)
    )
    return CudaLauncher(3)


def calls(launcher: CudaLauncher) -> list[tuple[object, ...]]:
    recorder: Any = launcher._device
    return recorder.calls  # type: ignore[no-any-return]


@pytest.mark.parametrize(("items", "blocks"), [(1, 1), (256, 1), (257, 2), (1 << 30, launching.MOST_BLOCKS)])
def test_a_launch_on_someone_elses_stream(launcher: CudaLauncher, items: int, blocks: int) -> None:
    """Streams go in as cuda-core's own: it warns of foreign objects."""
    launcher.launch("gather", items, (7, np.int64(8)), 77)
    assert calls(launcher) == [("launch", "stream 77", (blocks, 256), "sm_90 gather", 7, np.int64(8))]


def test_memory_in_the_order_of_a_stream(launcher: CudaLauncher) -> None:
    assert launcher.allocate(100, 77) == 42
    launcher.free(42, 77)
    assert calls(launcher) == [("cuMemAllocAsync", 100, 77), ("cuMemFreeAsync", 42, 77)]


def test_copies_wait_for_the_stream(launcher: CudaLauncher) -> None:
    values = np.zeros(5, np.float32)
    launcher.read(1000, values, 77)
    launcher.write(2000, values, 78)
    at = values.ctypes.data
    assert calls(launcher) == [
        ("cuMemcpyDtoHAsync", at, 1000, 20, 77),
        ("cuStreamSynchronize", 77),
        ("cuMemcpyHtoDAsync", 2000, at, 20, 78),
        ("cuStreamSynchronize", 78),
    ]


def test_one_stream_after_another(launcher: CudaLauncher) -> None:
    launcher.order(5, 6)
    assert calls(launcher) == [
        ("cuEventCreate", "no timing"),
        ("cuEventRecord", 42, 6),
        ("cuStreamWaitEvent", 5, 42, 0),
        ("cuEventDestroy", 42),
    ]


def test_a_mark_waits_for_its_event_and_destroys_it(launcher: CudaLauncher) -> None:
    wait = launcher.mark(6)
    assert calls(launcher) == [("cuEventCreate", "asleep"), ("cuEventRecord", 42, 6)]
    wait()
    assert calls(launcher)[2:] == [("cuEventSynchronize", 42)]
    del wait
    assert calls(launcher)[3:] == [("cuEventDestroy", 42)]


def test_an_event_is_destroyed_whatever_fails(launcher: CudaLauncher) -> None:
    recorder: Any = launcher._device
    recorder.fails = "cuEventRecord"
    with pytest.raises(BackendError, match="ordering streams failed"):
        launcher.order(5, 6)
    assert calls(launcher)[-1] == ("cuEventDestroy", 42)


def test_whose_memory_and_waiting_for_all(launcher: CudaLauncher) -> None:
    assert launcher.device_of(1000) == 42
    launcher.synchronize()
    assert calls(launcher) == [("cuPointerGetAttribute", "ordinal", 1000), ("cuCtxSynchronize",)]
