"""What becomes of a driver's failures on their way through cuda-core: of the stand-in driver's, which fails when asked to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from copy_network import CopyNetwork, check
from host_network import batches
from stand_in_driver import NOT_SUPPORTED, OUT_OF_MEMORY, StandIn

from restore_sdk.cuda.cuda_core import CudaCoreDevice
from restore_sdk.cuda.launching import CudaLauncher, DeviceMemory
from restore_sdk.cuda.memory import Device
from restore_sdk.cuda.pipeline import Pipeline
from restore_sdk.errors import BackendError, DeviceMemoryError

pytestmark = pytest.mark.gpu


@pytest.fixture
def device(driver: StandIn) -> Iterator[Device]:
    with CudaCoreDevice(0) as opened:
        yield opened


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize(
    ("function", "error"),
    [("cuStreamCreateWithPriority", DeviceMemoryError), ("cuEventCreate", BackendError)],  # of events cuda-core keeps the code
)
def test_what_is_set_up_by_half_is_undone(
    device: Device, driver: StandIn, function: str, error: type[BackendError], after: int
) -> None:
    before = driver.alive
    driver.fail(function, OUT_OF_MEMORY, after)
    with pytest.raises(error), Pipeline(device, CopyNetwork(device), slots=3):
        pass
    assert driver.alive == before
    with Pipeline(device, CopyNetwork(device), slots=3) as pipeline:
        check(pipeline, batches(4))
    assert driver.alive == before


@pytest.mark.parametrize("after", [0, 1, 2, 5])
@pytest.mark.parametrize("function", ["cuMemHostAlloc", "cuMemAlloc"])
def test_fewer_slots_do_where_memory_is_short(device: Device, driver: StandIn, function: str, after: int) -> None:
    before = driver.alive
    with Pipeline(device, CopyNetwork(device), slots=3) as pipeline:
        driver.fail(function, OUT_OF_MEMORY, after)
        check(pipeline, batches(6))
    assert driver.alive == before


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize(
    "function", ["cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuEventRecord", "cuStreamWaitEvent", "cuEventSynchronize"]
)
def test_a_stage_that_fails_once(device: Device, driver: StandIn, function: str, after: int) -> None:
    with Pipeline(device, CopyNetwork(device), slots=3) as pipeline:
        driver.fail(function, NOT_SUPPORTED, after)
        with pytest.raises(BackendError, match="NOT_SUPPORTED"):
            list(pipeline.run(batches(8)))
        check(pipeline, batches(8))


@pytest.mark.parametrize(
    "function", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiateWithParams", "cuGraphLaunch"]
)
def test_graphs_that_are_refused(device: Device, driver: StandIn, function: str) -> None:
    """Without a graph the work is queued as before; one that was made and is not launched has failed."""
    before = driver.alive
    with Pipeline(device, CopyNetwork(device, capturable=True), slots=2) as pipeline:
        driver.fail(function, NOT_SUPPORTED)
        if function == "cuGraphLaunch":
            with pytest.raises(BackendError, match="NOT_SUPPORTED"):
                list(pipeline.run(batches(8)))
        else:
            check(pipeline, batches(8))
            refused = pipeline.report()["graph_refused"]
            assert isinstance(refused, str)
            assert "NOT_SUPPORTED" in refused
        check(pipeline, batches(8))
    assert driver.alive == before


class Astray(CopyNetwork):
    """Writes where no memory is."""

    def enqueue(self, slot: int, given: Any, restored: Any, shape: Any, stream: Any) -> None:
        with self.device.current("copying on the GPU"):  # type: ignore[attr-defined]
            assert self.copy(8, given.pointer, 4, stream.handle) == 0


def test_a_fault_ends_the_context_and_everything_still_closes(driver: StandIn) -> None:
    with CudaCoreDevice(0) as device, device.stream() as stream, device.event() as event, device.pinned(8) as pinned:
        with Pipeline(device, Astray(device), slots=2) as pipeline:
            with pytest.raises(BackendError, match="ILLEGAL_ADDRESS"):
                list(pipeline.run(batches(4)))
            with pytest.raises(BackendError, match="ILLEGAL_ADDRESS"):
                list(pipeline.run(batches(4)))
        for use in (stream.synchronize, event.synchronize, device.memory, lambda: device.buffer(8), lambda: stream.record(event)):
            with pytest.raises(BackendError, match="ILLEGAL_ADDRESS"):
                use()
        assert pinned.nbytes == 8


def test_memory_is_freed_while_other_threads_capture(device: Device, driver: StandIn) -> None:
    """CUDA ends a capture during which the same context is waited for: what waits keeps away."""
    launcher, over = CudaLauncher(0), threading.Event()

    def expose_and_free() -> None:
        while not over.is_set():
            memory = DeviceMemory(launcher, 64, 1)
            memory.expose()
            memory.close()

    thread = threading.Thread(target=expose_and_free)
    thread.start()
    try:
        for number in range(20):
            with Pipeline(device, CopyNetwork(device, capturable=True), slots=3) as pipeline:
                check(pipeline, batches(12, 1, 3, 16, 16 + number))
                assert pipeline.report()["graph_refused"] is None
    finally:
        over.set()
        thread.join()


def test_memory_survives_a_copy_that_fails(driver: StandIn) -> None:
    launcher = CudaLauncher(0)
    values = np.arange(16, dtype=np.float32)
    pointer = launcher.allocate(values.nbytes, 1)
    launcher.write(pointer, values, 1)
    driver.fail("cuMemcpyDtoHAsync", NOT_SUPPORTED)
    got = np.zeros_like(values)
    with pytest.raises(BackendError, match="NOT_SUPPORTED"):
        launcher.read(pointer, got, 1)
    launcher.read(pointer, got, 1)
    launcher.free(pointer, 1)
    np.testing.assert_array_equal(got, values)
