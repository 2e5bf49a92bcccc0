"""What every implementation of the device protocol must do: on host memory always, on a GPU where there is one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from gpu_reasons import device_or_skip

from restore_sdk.cuda.memory import Device, DeviceBuffer, Event, GraphStream, PinnedBuffer, Stream
from restore_sdk.cuda.opening import CUDA, open_device
from restore_sdk.cuda.torch_device import TorchDevice
from restore_sdk.errors import BackendError, DeviceMemoryError, DeviceUnavailableError, OptionsError

MIB = 1 << 20
PLAYED = "played-torch"  # PyTorch's own tensors on a CUDA that is played on the host
WITH_GRAPHS = {"numpy", "cuda-core"}


@pytest.fixture(scope="module", params=["numpy", PLAYED, *(pytest.param(name, marks=pytest.mark.gpu) for name in CUDA)])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    with pytest.MonkeyPatch.context() as patch, opened(request.param, patch) as tested:
        assert tested.implementation == ("torch" if request.param == PLAYED else request.param)
        yield tested


def opened(name: str, patch: pytest.MonkeyPatch) -> Device:
    if name != PLAYED:
        return device_or_skip(name)
    pytest.importorskip("torch")
    from played_torch import played_torch

    played = played_torch(lambda given: given)
    patch.setattr("restore_sdk.cuda.torch_device.require", lambda _module, _extra: played)
    return open_device(implementation="torch")


def filled(device: Device, nbytes: int, seed: int = 0) -> PinnedBuffer:
    pinned = device.pinned(nbytes)
    pinned.array[:] = np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)
    return pinned


def test_it_says_what_it_is(device: Device) -> None:
    free, total = device.memory()
    assert 0 < free <= total
    assert device.index == 0
    assert (device.capability == (0, 0)) == (device.implementation == "numpy")
    assert ("numpy" in device.name) == (device.implementation == "numpy")


@pytest.mark.parametrize("nbytes", [1, 3, 4096, MIB + 1])
def test_bytes_come_back_as_they_went(device: Device, nbytes: int) -> None:
    with (
        filled(device, nbytes) as source,
        device.pinned(nbytes) as target,
        device.buffer(nbytes) as middle,
        device.stream() as stream,
    ):
        assert (source.array.shape, source.array.dtype, source.nbytes, middle.nbytes) == ((nbytes,), np.uint8, nbytes, nbytes)
        assert source.pointer == source.array.ctypes.data
        stream.copy_in(middle, source, nbytes)
        stream.copy_out(target, middle, nbytes)
        stream.synchronize()
        assert np.array_equal(target.array, source.array)


def test_only_the_first_bytes_are_copied(device: Device) -> None:
    with filled(device, 100) as source, device.pinned(50) as target, device.buffer(70) as middle, device.stream() as stream:
        target.array[:] = 7
        stream.copy_in(middle, source, 60)
        stream.copy_out(target, middle, 40)
        stream.synchronize()
        assert np.array_equal(target.array[:40], source.array[:40])
        assert (target.array[40:] == 7).all()


@pytest.mark.parametrize("nbytes", [0, -1, 11])
def test_copies_beyond_a_buffer_are_refused(device: Device, nbytes: int) -> None:
    with device.pinned(10) as small, device.pinned(20) as large, device.buffer(20) as middle, device.stream() as stream:
        for copy in (lambda: stream.copy_in(middle, small, nbytes), lambda: stream.copy_out(small, middle, nbytes)):
            with pytest.raises(OptionsError) as caught:
                copy()
            assert caught.value.got == nbytes
        stream.copy_in(middle, large, 20)


def test_empty_memory_is_refused(device: Device) -> None:
    for allocate in (device.buffer, device.pinned):
        with pytest.raises(OptionsError):
            allocate(0)


def in_use(device: Device) -> int:
    """Bytes. What PyTorch is given back it keeps for its next tensor, so the driver sees neither the one nor the other."""
    if isinstance(device, TorchDevice):
        return int(device.torch.cuda.memory_allocated(device.index))
    free, total = device.memory()
    return total - free


def test_memory_is_taken_and_given_back(device: Device) -> None:
    before = in_use(device)
    with device.buffer(64 * MIB):
        assert in_use(device) >= before + 32 * MIB
    assert in_use(device) <= before + 32 * MIB


def test_too_much_memory_is_typed(device: Device) -> None:
    _, total = device.memory()
    with pytest.raises(DeviceMemoryError) as caught:
        device.buffer(2 * total)
    assert caught.value.required == 2 * total
    device.buffer(MIB).close()


def test_an_event_tells_where_its_stream_is(device: Device) -> None:
    with filled(device, MIB) as source, device.buffer(MIB) as middle, device.stream() as stream, device.event() as event:
        assert event.done
        event.synchronize()
        for _ in range(2):
            stream.copy_in(middle, source, MIB)
            stream.record(event)
            event.synchronize()
            assert event.done


def test_a_stream_follows_an_event_of_another(device: Device) -> None:
    """Without the wait the second stream would copy out what was there before, at least now and then."""
    with (
        device.buffer(8 * MIB) as middle,
        device.pinned(8 * MIB) as target,
        device.stream() as first,
        device.stream() as second,
        device.event() as event,
    ):
        for number in range(5):
            with filled(device, 8 * MIB, number) as source:
                first.copy_in(middle, source, 8 * MIB)
                first.record(event)
                second.wait(event)
                second.copy_out(target, middle, 8 * MIB)
                second.synchronize()
                assert np.array_equal(target.array, source.array)


def test_streams_have_handles_of_their_own(device: Device) -> None:
    with device.stream() as first, device.stream() as second:
        assert 0 not in {first.handle, second.handle}
        assert first.handle != second.handle


def test_closing_twice_does_nothing(device: Device) -> None:
    for resource in (device.buffer(10), device.pinned(10), device.stream(), device.event()):
        resource.close()
        resource.close()


def test_a_closed_stream_refuses_work(device: Device) -> None:
    """A handle of 0 would be the default stream."""
    stream = device.stream()
    stream.close()
    assert stream.handle == 0
    with device.pinned(10) as pinned, device.buffer(10) as buffer, pytest.raises(BackendError, match="after close"):
        stream.copy_in(buffer, pinned, 10)


def test_another_thread_may_use_and_close_what_one_made(device: Device) -> None:
    source, middle, target = filled(device, 1000), device.buffer(1000), device.pinned(1000)
    stream, event = device.stream(), device.event()
    same: list[bool] = []

    def work() -> None:
        stream.copy_in(middle, source, 1000)
        stream.copy_out(target, middle, 1000)
        stream.record(event)
        event.synchronize()
        same.append(np.array_equal(source.array, target.array))
        for resource in (stream, event, source, middle, target):
            resource.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert same == [True]


def test_resources_of_another_implementation_are_refused(device: Device) -> None:
    class Foreign(Event):
        done = True

        def synchronize(self) -> None: ...

        def close(self) -> None: ...

    with device.stream() as stream:
        for use in (stream.record, stream.wait):
            with pytest.raises(OptionsError, match="same implementation"):
                use(Foreign())


def round_trip(stream: Stream, source: PinnedBuffer, middle: DeviceBuffer, target: PinnedBuffer) -> None:
    stream.copy_in(middle, source, source.nbytes)
    stream.copy_out(target, middle, source.nbytes)


def test_a_graph_does_its_work_on_what_is_there_at_each_launch(device: Device) -> None:
    with device.stream() as stream, filled(device, 1000) as source, device.buffer(1000) as middle, device.pinned(1000) as target:
        assert isinstance(stream, GraphStream) == (device.implementation in WITH_GRAPHS)
        if not isinstance(stream, GraphStream):
            pytest.skip(f"{device.implementation} offers no CUDA graphs here")
        target.array[:] = 0
        graph = stream.capture(lambda: round_trip(stream, source, middle, target))
        with graph:
            stream.synchronize()
            assert not target.array.any()
            for value in (1, 2):
                source.array[:] = value
                graph.launch(stream)
                stream.synchronize()
                assert (target.array == value).all()
        graph.close()


def test_a_capture_that_fails_leaves_the_stream_usable(device: Device) -> None:
    def fail() -> None:
        raise BackendError("no such luck")

    with device.stream() as stream, filled(device, 10) as source, device.buffer(10) as middle, device.pinned(10) as target:
        if not isinstance(stream, GraphStream):
            pytest.skip(f"{device.implementation} offers no CUDA graphs here")
        with pytest.raises(BackendError):
            stream.capture(fail)
        round_trip(stream, source, middle, target)
        stream.synchronize()
        assert np.array_equal(target.array, source.array)


def test_a_gpu_that_is_not_there_is_refused(device: Device) -> None:
    if device.implementation == "numpy":
        pytest.skip("host memory is one device")
    with pytest.raises(DeviceUnavailableError) as caught:
        open_device(99, implementation=device.implementation)
    assert "GPU 0" in caught.value.available
