"""The pipeline on a real GPU: copies that overlap inference, graphs, leaks, contexts. Needs cuda-core or pycuda, and no TensorRT.

The network copies its input to its output on the device: exact, and it needs no compiler.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from copy_network import CopyNetwork, check
from gpu_reasons import device_or_skip
from host_network import batches
from on_threads import on_threads

from restore_sdk.cuda.memory import Device, DeviceBuffer, GraphStream, Stream
from restore_sdk.cuda.opening import CUDA
from restore_sdk.cuda.pipeline import Pipeline
from restore_sdk.cuda.slots import Shape
from restore_sdk.errors import BackendError, DeviceMemoryError

pytestmark = pytest.mark.gpu
MIB = 1 << 20
LEAK = 16 * MIB  # far less than what 1000 leaked slots would take, far more than what a driver keeps for itself


@pytest.fixture(scope="module", params=CUDA)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    with device_or_skip(request.param) as opened:
        yield opened


def test_batches_come_back_through_pinned_memory(device: Device) -> None:
    with Pipeline(device, CopyNetwork(device)) as pipeline:
        for shape in ((1, 3, 64, 64), (2, 3, 500, 333), (1, 1, 1, 1)):
            check(pipeline, batches(7, *shape))


class SlowNetwork(CopyNetwork):
    """Copies half a GiB over and over first. Few and large copies: a stream takes about a thousand before enqueue() blocks."""

    def __init__(self, device: Device, scratch: tuple[DeviceBuffer, DeviceBuffer], on_enqueue: Callable[[int], None]) -> None:
        super().__init__(device, on_enqueue=on_enqueue)
        self.scratch = scratch

    def enqueue(self, slot: int, given: DeviceBuffer, restored: DeviceBuffer, shape: Shape, stream: Stream) -> None:
        one, other = self.scratch
        with self.device.current("copying on the GPU"):  # type: ignore[attr-defined]
            for _ in range(200):
                assert self.copy(one.pointer, other.pointer, one.nbytes, stream.handle) == 0
        super().enqueue(slot, given, restored, shape, stream)


def test_a_copy_in_ends_while_the_batch_before_is_still_inferred(device: Device) -> None:
    overlapped: list[bool] = []

    def look(number: int) -> None:
        # All slots have memory, which may be waited for; the copies of batch 4 are queued; batch 3 has 200 large copies before it
        if number == 5:
            first, second = pipeline._slots[:2]
            second.arrived.synchronize()
            overlapped.append(not first.inferred.done)

    with (
        device.buffer(512 * MIB) as one,
        device.buffer(512 * MIB) as other,
        Pipeline(device, SlowNetwork(device, (one, other), look), slots=3) as pipeline,
    ):
        check(pipeline, batches(6, 1, 3, 64, 64))
    assert overlapped == [True]


def test_graphs_replay_to_the_same_bits(device: Device) -> None:
    with device.stream() as stream:
        if not isinstance(stream, GraphStream):
            pytest.skip(f"{device.implementation} offers no CUDA graphs here")
    network = CopyNetwork(device, capturable=True)
    with Pipeline(device, network, slots=2) as pipeline:
        for shape in ((1, 3, 64, 64), (1, 3, 128, 96), (1, 3, 64, 64)):
            check(pipeline, batches(8, *shape))
        report = pipeline.report()
        assert (report["graph_launches"], report["graph_refused"]) == (18, None)
        assert network.queued == 3 * 4  # a plain one and a captured one for each slot and shape


def test_many_threads_get_their_own_results(device: Device) -> None:
    wrong: list[str] = []
    with Pipeline(device, CopyNetwork(device, capturable=True), slots=3) as pipeline:

        def work(seed: int) -> None:
            try:
                check(pipeline, batches(20, 1, 3, 64 + seed, 64, seed=seed))
            except (AssertionError, BackendError) as exc:
                wrong.append(f"{seed}: {exc}")

        on_threads(work)
    assert wrong == []


def test_a_thousand_batches_and_pipelines_leak_nothing(device: Device) -> None:
    network = CopyNetwork(device, capturable=True)
    with Pipeline(device, network) as pipeline:
        check(pipeline, batches(10, 1, 3, 64, 64))
        before = device.memory()[0]
        for number in range(250):
            check(pipeline, batches(4, 1, 3, 64, 64, seed=number))
        assert device.memory()[0] >= before - LEAK
    before = device.memory()[0]
    for number in range(1000):
        with Pipeline(device, network) as pipeline:
            check(pipeline, batches(4, 1, 3, 64, 64, seed=number))
    assert device.memory()[0] >= before - LEAK


def test_results_that_nobody_takes_leak_nothing(device: Device) -> None:
    network = CopyNetwork(device)
    with Pipeline(device, network) as pipeline:
        check(pipeline, batches(4, 1, 3, 256, 256))
        before = device.memory()[0]
        for number in range(100):
            next(pipeline.run(batches(6, 1, 3, 256, 256, seed=number)))
        assert device.memory()[0] >= before - LEAK
        check(pipeline, batches(4))


def test_out_of_memory_is_typed_and_what_fits_then_runs(device: Device) -> None:
    class Greedy(CopyNetwork):
        def output_shape(self, shape: Shape) -> Shape:
            return (1, 3, 1 << 20, 1 << 20) if shape[2] == 512 else shape  # 12 TiB

    with Pipeline(device, Greedy(device)) as pipeline:
        with pytest.raises(DeviceMemoryError) as caught:
            list(pipeline.run(batches(2, 1, 3, 512, 512)))
        assert (caught.value.required, caught.value.tile) == (12 << 40, (512, 512))
        assert caught.value.free is not None
        assert pipeline.report()["device_bytes"] == 0
        check(pipeline, batches(7, 1, 3, 256, 256))


def test_the_callers_context_is_left_as_it_was(device: Device) -> None:
    """A thread without a context has none afterwards; torch or another GPU's context would likewise stay current."""
    if device.implementation == "torch":
        pytest.skip("PyTorch leaves its context current")
    network = CopyNetwork(device)
    contexts: list[int | None] = []

    def work() -> None:
        contexts.append(network.current_context())
        with Pipeline(device, network) as pipeline:
            check(pipeline, batches(4))
        contexts.append(network.current_context())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert contexts == [None, None]


def test_torch_shares_the_context(device: Device) -> None:
    if device.implementation == "torch":
        pytest.skip("it is PyTorch's own")
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU")
    tensor = torch.arange(1000, dtype=torch.float32, device="cuda")
    torch.cuda.synchronize()
    with device.pinned(4000) as pinned, device.stream() as stream:

        class Borrowed:
            pointer, nbytes = tensor.data_ptr(), 4000

        stream.copy_out(pinned, Borrowed(), 4000)  # type: ignore[arg-type]
        stream.synchronize()
        assert np.array_equal(pinned.array.view(np.float32), tensor.cpu().numpy())
    assert torch.cuda.current_device() == 0
