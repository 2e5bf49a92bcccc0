"""A failure in any stage: told once and typed, later batches drained, nothing leaked, the ring as good as before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from host_network import HostNetwork, batches

from restore_sdk.cuda.memory import DeviceBuffer, PinnedBuffer, Stream
from restore_sdk.cuda.numpy_device import NumpyBuffer, NumpyDevice, NumpyEvent, NumpyPinned, NumpyStream
from restore_sdk.cuda.pipeline import Pipeline
from restore_sdk.cuda.slots import Shape
from restore_sdk.errors import BackendError, DeviceMemoryError

SLOTS = 3


class FaultyStream(NumpyStream):
    """Fails in the copies whose turn is in the device's `faults`: ("copy_in" or "copy_out", "now" or "later") -> numbers."""

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None:
        self._fault("copy_in")
        super().copy_in(target, source, nbytes)

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None:
        self._fault("copy_out")
        super().copy_out(target, source, nbytes)

    def _fault(self, operation: str) -> None:
        device = self._device
        assert isinstance(device, FaultyDevice)
        number = device.turns[operation] = device.turns.get(operation, -1) + 1
        if number in device.faults.get((operation, "now"), ()):
            raise BackendError(f"{operation} {number} was refused")
        if number in device.faults.get((operation, "later"), ()):
            self.queue("fault", number, lambda: _raise(BackendError(f"{operation} {number} failed")))


class FaultyDevice(NumpyDevice):
    """Allocations may fail as well: those whose turn is in `no_memory`, counted over buffers and pinned memory."""

    def __init__(self, no_memory: frozenset[int] = frozenset(), total: int = 1 << 30) -> None:
        super().__init__(total=total)
        self.faults: dict[tuple[str, str], set[int]] = {}
        self.turns: dict[str, int] = {}
        self.no_memory = no_memory

    def stream(self) -> FaultyStream:
        self._allocate("stream")
        return FaultyStream(self)

    def event(self) -> NumpyEvent:
        self._allocate("event")
        return super().event()

    def buffer(self, nbytes: int) -> NumpyBuffer:
        self._allocate("memory")
        return super().buffer(nbytes)

    def pinned(self, nbytes: int) -> NumpyPinned:
        self._allocate("memory")
        return super().pinned(nbytes)

    def _allocate(self, kind: str) -> None:
        number = self.turns[kind] = self.turns.get(kind, -1) + 1
        if kind == "memory" and number in self.no_memory:
            raise DeviceMemoryError(1, 0, (0, 0))
        if (kind, "now") in self.faults and number in self.faults[kind, "now"]:
            raise BackendError(f"no {kind} {number}")


def _raise(exc: Exception) -> None:
    raise exc


def failing(at: int, exc: Exception) -> object:
    return lambda number: _raise(exc) if number == at else None


def check_reusable(pipeline: Pipeline, network: HostNetwork, seed: int = 9) -> None:
    """More batches than slots, so that every slot is used again."""
    given = batches(2 * SLOTS + 1, seed=seed)
    for batch, result in zip(given, pipeline.run(given), strict=True):
        assert np.array_equal(result, network.expected(batch))


def results_until_failure(results: Iterator[np.ndarray], kind: type[Exception]) -> tuple[int, Exception]:
    """How many results came before the error; after it there is nothing more."""
    before: list[np.ndarray] = []
    with pytest.raises(kind) as caught:
        before.extend(results)
    assert list(results) == []
    return len(before), caught.value


@pytest.mark.parametrize("at", [0, 1, 4, 6])
@pytest.mark.parametrize("stage", ["enqueue", "infer", "copy_in now", "copy_in later", "copy_out now", "copy_out later"])
def test_a_stage_that_fails_is_told_once_after_the_results_before_it(stage: str, at: int) -> None:
    device, network = FaultyDevice(), HostNetwork()
    if stage == "enqueue":
        network.on_enqueue = failing(at, BackendError("enqueue was refused"))  # type: ignore[assignment]
    elif stage == "infer":
        network.on_infer = failing(at, ValueError("the kernel is at fault"))  # type: ignore[assignment]
    else:
        operation, when = stage.split()
        device.faults[operation, when] = {at}
    with Pipeline(device, network, slots=SLOTS) as pipeline:
        count, error = results_until_failure(pipeline.run(batches(7)), BackendError)
        assert count == at
        assert any(word in str(error) for word in ("refused", "failed", "at fault"))
        check_reusable(pipeline, network)
    assert set(device.live.values()) == {0}


def test_batches_behind_the_failed_one_are_dropped_without_a_word() -> None:
    """All of them fail, as after a fault that ends the CUDA context: only the first is told."""
    device = FaultyDevice()
    device.faults["copy_out", "later"] = set(range(7))
    with Pipeline(device, network := HostNetwork(), slots=SLOTS) as pipeline:
        _, error = results_until_failure(pipeline.run(batches(7)), BackendError)
        assert "copy_out 0 failed" in str(error)
        device.faults.clear()
        check_reusable(pipeline, network)


def test_our_own_mistakes_are_not_dressed_up() -> None:
    """A TypeError of the network is no BackendError; it comes at once, and the ring is still good."""
    device, network = NumpyDevice(), HostNetwork()
    network.on_enqueue = failing(2, TypeError("a bug"))  # type: ignore[assignment]
    with Pipeline(device, network, slots=SLOTS) as pipeline:
        with pytest.raises(TypeError, match="a bug"):
            list(pipeline.run(batches(7)))
        check_reusable(pipeline, network)
    assert set(device.live.values()) == {0}


def test_a_source_that_fails_is_told_as_it_is() -> None:
    def source() -> Iterator[np.ndarray]:
        yield from batches(2)
        raise OSError("the camera is gone")

    device, network = NumpyDevice(), HostNetwork()
    with Pipeline(device, network, slots=SLOTS) as pipeline:
        with pytest.raises(OSError, match="camera"):
            list(pipeline.run(source()))
        check_reusable(pipeline, network)
    assert set(device.live.values()) == {0}


@pytest.mark.parametrize("at", range(4 * SLOTS))
def test_memory_that_runs_out_leaves_nothing_half_made(at: int) -> None:
    device, network = FaultyDevice(no_memory=frozenset({at, at + 1})), HostNetwork()  # it is tried twice
    with Pipeline(device, network, slots=SLOTS) as pipeline:
        count, error = results_until_failure(pipeline.run(batches(7, 1, 3, 6, 5)), DeviceMemoryError)
        assert count == at // 4  # the slots before the one that had no room
        assert isinstance(error, DeviceMemoryError)
        assert error.tile == (6, 5)
        assert (device.used, device.live["buffer"], device.live["pinned"]) == (0, 0, 0)
        check_reusable(pipeline, network)
    assert set(device.live.values()) == {0}


def test_a_smaller_batch_fits_after_one_that_did_not() -> None:
    large, small = 4 * 3 * 32 * 32, 4 * 3 * 16 * 16
    device, network = NumpyDevice(total=large), HostNetwork(capturable=True)
    with Pipeline(device, network, slots=SLOTS) as pipeline:
        given = [*batches(2, 1, 3, 8, 8), *batches(5, 1, 3, 32, 32)]
        count, error = results_until_failure(pipeline.run(given), DeviceMemoryError)
        assert isinstance(error, DeviceMemoryError)
        assert (count, error.required, error.free, error.tile) == (2, large, 0, (32, 32))
        assert (device.used, pipeline.report()["resting"]) == (0, 0)
        device.total = 6 * small
        assert len(list(pipeline.run(batches(9, 1, 3, 16, 16)))) == 9
        assert device.used == 2 * SLOTS * small


@pytest.mark.parametrize("fitting", range(1, SLOTS + 1))
def test_where_memory_suffices_for_fewer_batches_fewer_are_in_flight(fitting: int) -> None:
    size = 4 * 3 * 8 * 8
    device, network = NumpyDevice(total=(2 * fitting + 1) * size), HostNetwork(capturable=True)
    with Pipeline(device, network, slots=SLOTS) as pipeline:
        for seed in range(2):  # the second time nothing has to be given up
            check_reusable(pipeline, network, seed)
            assert pipeline.report()["resting"] == SLOTS - fitting
        assert device.used == 2 * fitting * size
    assert set(device.live.values()) == {0}


class Holding(HostNetwork):
    """Keeps a buffer, like scratch memory, for each slot; notes what else the device held when it gave them back."""

    def __init__(self, device: NumpyDevice, nbytes: int) -> None:
        super().__init__()
        self._device, self._nbytes = device, nbytes
        self.held: dict[int, NumpyBuffer] = {}
        self.others: list[int] = []

    def enqueue(self, slot: int, given: DeviceBuffer, restored: DeviceBuffer, shape: Shape, stream: Stream) -> None:
        if slot not in self.held:
            self.held[slot] = self._device.buffer(self._nbytes)
        super().enqueue(slot, given, restored, shape, stream)

    def release_memory(self) -> None:
        assert self.inferred == self.queued
        for buffer in self.held.values():
            buffer.close()
        self.held.clear()
        self.others.append(self._device.used)


def test_what_the_network_holds_is_given_back_with_the_slots() -> None:
    scratch = 1 << 16
    device = NumpyDevice(total=scratch * 2 - 1)  # of one slot at a time
    network = Holding(device, scratch)
    with Pipeline(device, network, slots=SLOTS) as pipeline:
        check_reusable(pipeline, network)
        assert network.others == [0] * (SLOTS - 1)
        pipeline.release_memory()
        assert device.used == 0
        check_reusable(pipeline, network)
        assert len(network.held) == 1
        network.release_memory()
    pipeline.release_memory()  # after close() nothing
    assert set(device.live.values()) == {0}


@pytest.mark.parametrize(
    ("kind", "at"), [*(("event", number) for number in range(3 * SLOTS)), *(("stream", number) for number in range(3))]
)
def test_a_pipeline_that_cannot_be_set_up_leaves_nothing(kind: str, at: int) -> None:
    device = FaultyDevice()
    device.faults[kind, "now"] = {at}
    with pytest.raises(BackendError, match=f"no {kind} {at}"):
        Pipeline(device, HostNetwork(), slots=SLOTS)
    assert set(device.live.values()) <= {0}
