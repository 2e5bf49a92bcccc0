"""The CUDA half of the torch backend without a GPU: what it asks of PyTorch, in which order, with what result."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backend_checks import check_closed_twice
from on_threads import on_threads
from played_program import SPEC, blur, noise, on_device
from played_torch import CAPTURES, TOTAL, played_torch

from restore_sdk.backends.base import DeviceBackend, PipelinedBackend
from restore_sdk.backends.torch_cuda import GRAPHS, CudaProgram, CudaProgramBackend
from restore_sdk.backends.torch_program import VENDOR, open_torch_program
from restore_sdk.cuda.torch_device import TorchDevice
from restore_sdk.errors import BackendError, DeviceMemoryError, OptionsError, RestorerClosedError

OURS = 100  # the handle of the program's own stream


def test_it_has_both_abilities_and_the_cpu_has_none(backend: CudaProgramBackend, small_program: Path) -> None:
    assert isinstance(backend, DeviceBackend)
    assert isinstance(backend, PipelinedBackend)
    assert backend.device_index == 0
    on_cpu = open_torch_program(small_program, device="cpu")
    assert not isinstance(on_cpu, DeviceBackend | PipelinedBackend)


def test_a_batch_from_the_host(backend: CudaProgramBackend) -> None:
    batch = noise(2, 3, 8, 6)
    np.testing.assert_array_equal(backend.infer(batch), blur(torch.from_numpy(batch)).numpy())


def test_a_batch_on_the_callers_stream(backend: CudaProgramBackend, played: Any) -> None:
    batch = noise(1, 3, 8, 6)
    np.testing.assert_array_equal(on_device(backend, batch, 77), backend.infer(batch))
    assert ("capture", CAPTURES) in played.cuda.log, "captured on a stream for that, not the caller's"
    played.cuda.log.clear()
    on_device(backend, batch, 77)
    on_device(backend, batch, 88)
    assert played.cuda.log == [
        *(("wait", 77, 77), ("replay", 77), ("record", 77)),
        *(("wait", 77, 88), ("replay", 88), ("record", 88)),
    ]
    played.cuda.log.clear()
    backend.infer(batch)
    assert played.cuda.log == [("wait", 88, OURS), ("replay", OURS)]


@pytest.mark.parametrize("handle", [0, 1])
def test_the_default_stream(backend: CudaProgramBackend, played: Any, handle: int) -> None:
    on_device(backend, noise(1, 3, 4, 4), handle)
    assert played.cuda.log[-1] == ("record", 0)


def test_a_graph_that_must_go_is_waited_for(backend: CudaProgramBackend, played: Any) -> None:
    on_device(backend, noise(1, 3, 4, 4), 77)
    for width in range(1, GRAPHS):
        on_device(backend, noise(1, 3, 4, 4 + 2 * width), 88)
    assert ("finished", 77) not in played.cuda.log
    on_device(backend, noise(1, 3, 4, 40), 88)
    assert played.cuda.log.count(("finished", 77)) == 1


def test_many_batches_in_order(backend: CudaProgramBackend, played: Any) -> None:
    batches = [noise(1, 3, 8, 6 + 2 * (seed // 3), seed=seed) for seed in range(7)]
    for got, batch in zip(backend.infer_many(iter(batches)), batches, strict=True):
        np.testing.assert_array_equal(got, backend.infer(batch))
    streams = {event[1] for event in played.cuda.log if event[0] == "record"}
    assert len(streams) == 3, "in, through and out"
    backend.close()


def test_many_batches_from_several_threads(backend: CudaProgramBackend) -> None:
    """One pipeline, whoever asks first."""
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        batches = [noise(1, 3, 6, 6, seed=10 * seed + i) for i in range(4)]
        try:
            for got, batch in zip(backend.infer_many(batches), batches, strict=True):
                np.testing.assert_array_equal(got, blur(torch.from_numpy(batch)).numpy())
        except AssertionError as exc:
            failures.append(exc)

    on_threads(work, 4)
    assert failures == []


def test_other_graphs_make_room(backend: CudaProgramBackend, played: Any) -> None:
    on_device(backend, noise(1, 3, 4, 4), 77)
    played.cuda.log.clear()
    played.cuda.full = 1
    batch = noise(1, 3, 8, 8)
    np.testing.assert_array_equal(on_device(backend, batch, 77), blur(torch.from_numpy(batch)).numpy())
    assert played.cuda.log[:2] == [("finished", 77), ("empty_cache",)]


def test_out_of_memory(backend: CudaProgramBackend, played: Any) -> None:
    for call in (backend.infer, lambda batch: on_device(backend, batch, 77), lambda batch: next(backend.infer_many([batch]))):
        played.cuda.full = 100  # however often it is tried
        with pytest.raises(DeviceMemoryError) as caught:
            call(noise(1, 3, 8, 6))
        played.cuda.full = 0
        in_use = TOTAL - (caught.value.free or 0)
        assert (in_use in {0, 2 * 4 * 3 * 8 * 6}, caught.value.tile) == (True, (8, 6))  # nothing, or the pipeline's two buffers
    assert backend.infer(noise(1, 3, 8, 6)).shape == (1, 3, 8, 6)


def test_out_of_memory_hidden_by_the_end_of_a_capture(played: Any) -> None:
    def hidden(_given: Any) -> Any:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    broken = CudaProgramBackend(CudaProgram(played, hidden, "cuda:0"), SPEC, {}, VENDOR)
    with pytest.raises(DeviceMemoryError):
        broken.infer(noise(1, 3, 8, 6))


def test_no_convolution_found_is_a_lack_of_memory(played: Any) -> None:
    def refused(_given: Any) -> Any:
        raise RuntimeError("GET was unable to find an engine to execute this computation")

    with pytest.raises(DeviceMemoryError) as caught:
        CudaProgram(played, refused, "cuda:0").run(noise(1, 3, 8, 8))
    assert "unable to find an engine" in str(caught.value.__cause__)


def test_other_errors_are_no_lack_of_memory(played: Any) -> None:
    def broken(_given: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    backend = CudaProgramBackend(CudaProgram(played, broken, "cuda:0"), SPEC, {}, VENDOR)
    with pytest.raises(BackendError, match="illegal memory access") as caught:
        backend.infer(noise(1, 3, 8, 6))
    assert not isinstance(caught.value, DeviceMemoryError)


def test_wrong_shapes_never_reach_the_device(backend: CudaProgramBackend, played: Any) -> None:
    for shape in ((1, 3, 7, 8), (1, 1, 8, 8)):
        with pytest.raises(BackendError, match="multiples of 2"):
            on_device(backend, noise(*shape), 77)
    assert played.cuda.log == []


def test_a_program_that_makes_more_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its result would be written beyond the caller's memory."""
    enlarging = played_torch(lambda given: given.repeat(1, 1, 2, 2))
    backend = CudaProgramBackend(CudaProgram(enlarging, enlarging.cuda.module, "cuda:0"), SPEC, {}, VENDOR)
    with pytest.raises(BackendError, match=r"makes \(1, 3, 8, 12\).*says \(1, 3, 4, 6\)"):
        on_device(backend, noise(1, 3, 4, 6), 77)
    assert ("replay", 77) not in enlarging.cuda.log


def test_use_after_close(backend: CudaProgramBackend) -> None:
    next(backend.infer_many([noise(1, 3, 4, 4)]))
    check_closed_twice(backend, noise(1, 3, 4, 4))
    for call in (lambda batch: on_device(backend, batch, 77), lambda batch: next(backend.infer_many([batch]))):
        with pytest.raises(RestorerClosedError):
            call(noise(1, 3, 4, 4))


def endless() -> Iterator[np.ndarray]:
    return (noise(1, 3, 4, 4, seed=seed) for seed in count())


def test_no_pipeline_is_opened_after_close(backend: CudaProgramBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be left behind, with its streams."""
    backend.close()
    monkeypatch.setattr("restore_sdk.backends.torch_cuda.Pipeline", pytest.fail)
    with pytest.raises(RestorerClosedError):
        next(backend.infer_many(endless()))


def test_close_beside_a_run(backend: CudaProgramBackend) -> None:
    """What was under way still comes, and then the promised error, not one of the pipeline."""
    results = backend.infer_many(endless())
    first = next(results)
    backend.close()
    given = endless()
    for got in (first, next(results), next(results)):
        np.testing.assert_array_equal(got, blur(torch.from_numpy(next(given))).numpy())
    with pytest.raises(RestorerClosedError):
        next(results)


def test_close_before_a_run_takes_its_first_batch(backend: CudaProgramBackend) -> None:
    def closing() -> Iterator[np.ndarray]:
        backend.close()
        yield noise(1, 3, 4, 4)

    with pytest.raises(RestorerClosedError):
        next(backend.infer_many(closing()))


def test_a_failure_of_a_backend_that_is_open_stays_what_it_is(monkeypatch: pytest.MonkeyPatch, played: Any) -> None:
    def broken(_given: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("restore_sdk.cuda.torch_device.require", lambda _module, _extra: played)
    backend = CudaProgramBackend(CudaProgram(played, broken, "cuda:0"), SPEC, {}, VENDOR)
    with pytest.raises(BackendError, match="illegal memory access"):
        next(backend.infer_many([noise(1, 3, 8, 6)]))


def test_new_memory_waits_for_what_its_stream_still_does(played: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch may have handed out the stream that memory is allocated on to someone else too, and then their freed memory."""
    monkeypatch.setattr("restore_sdk.cuda.torch_device.require", lambda _module, _extra: played)
    log, empty = played.cuda.log, played.empty
    device = TorchDevice(0)
    played.empty = lambda *shape, **options: (log.append(("empty", played.cuda.current_stream())), empty(*shape, **options))[1]
    with device.buffer(64):
        assert log == [("empty", device.home), ("synchronize", device.home.cuda_stream)]


def test_the_device_copies_and_says_what_it_is(backend: CudaProgramBackend, played: Any) -> None:
    with TorchDevice(0) as device, device.buffer(64) as middle, device.pinned(64) as source, device.pinned(64) as target:
        assert (device.implementation, device.name, device.capability, device.memory()) == (
            "torch",
            "played",
            (9, 0),
            (TOTAL - 64, TOTAL),
        )
        source.array[:] = np.arange(64)
        target.array[:] = 0
        with device.stream() as stream, device.event() as event:
            stream.copy_in(middle, source, 64)
            stream.copy_out(target, middle, 48)
            stream.record(event)
            stream.wait(event)
            event.synchronize()
            assert event.done
            np.testing.assert_array_equal(target.array, [*range(48), *([0] * 16)])
            with pytest.raises(OptionsError, match="nbytes"):
                stream.copy_in(middle, source, 65)
        with pytest.raises(BackendError, match="after close"):
            stream.synchronize()
