"""The session on a GPU, as far as a CPU can show it: real bindings of a real session whose device is the CPU, and a recorder of
what would be asked of CUDA."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from backend_checks import check_bits_on_threads, check_closed_twice

from restore_sdk.backends.base import DeviceBackend
from restore_sdk.backends.onnx_cuda import GRAPHS, LEGACY_STREAM, PLACES, Device, OnnxCudaBackend
from restore_sdk.backends.onnx_library import vendor_errors
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.errors import BackendError, DeviceMemoryError, RestorerClosedError
from restore_sdk.spec import ModelSpec

STATE = onnxruntime.capi.onnxruntime_pybind11_state
FULL = STATE.RuntimeException("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 9")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.fixture
def opened(small_model: Path, small_spec: ModelSpec) -> Iterator[OnnxCudaBackend]:
    """The GPU backend on real sessions of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def open_session(stream: int | None, graphs: bool) -> Any:
        return onnxruntime.InferenceSession(small_model, options, providers=["CPUExecutionProvider"])

    backend = OnnxCudaBackend(
        open_session(None, True),
        small_spec,
        {"backend": "onnxruntime", "device": "cpu"},
        vendor_errors(onnxruntime),
        runtime=onnxruntime,
        open_session=open_session,
        device=Device("cpu", 0),
        graphs=True,
    )
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def plain(small_model: Path) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    backend = open_onnxruntime(small_model, device="cpu", threads=1)
    yield backend.infer
    backend.close()


def test_bound_arrays_give_the_same_bits(opened: OnnxCudaBackend, plain) -> None:
    for seed, shape in enumerate([(1, 3, 8, 8), (2, 3, 12, 4), (1, 3, 8, 8), (1, 3, 20, 24)]):
        np.testing.assert_array_equal(opened.infer(noise(*shape, seed=seed)), plain(noise(*shape, seed=seed)))


def test_result_is_the_callers_own(opened: OnnxCudaBackend) -> None:
    first = opened.infer(noise(1, 3, 8, 8))
    kept = first.copy()
    opened.infer(noise(1, 3, 8, 8, seed=1))
    np.testing.assert_array_equal(first, kept)
    first[:] = 0
    np.testing.assert_array_equal(opened.infer(noise(1, 3, 8, 8)), kept)


def test_batch_of_any_layout(opened: OnnxCudaBackend, plain) -> None:
    batch = noise(1, 3, 16, 16)[:, :, ::2, ::-2]
    batch.setflags(write=False)
    np.testing.assert_array_equal(opened.infer(batch), plain(np.ascontiguousarray(batch)))


def test_more_shapes_than_are_kept(opened: OnnxCudaBackend, plain) -> None:
    for side in (*range(4, 4 * (PLACES + 4), 4), 4):
        np.testing.assert_array_equal(opened.infer(noise(1, 3, side, 8)), plain(noise(1, 3, side, 8)))


def test_eight_threads_get_the_bits_of_one(opened: OnnxCudaBackend) -> None:
    opened.warm_up([(1, 3, 8, 8)])
    check_bits_on_threads(opened, [noise(1, 3, 8, 8 + 4 * (i % 3), seed=i) for i in range(16)])


def test_device_pointers_are_read_and_written_in_place(opened: OnnxCudaBackend, plain) -> None:
    assert isinstance(opened, DeviceBackend)
    given, restored = noise(1, 3, 12, 16), np.zeros((1, 3, 12, 16), np.float32)
    opened.infer_on_device(given.ctypes.data, restored.ctypes.data, (1, 3, 12, 16), 0)
    np.testing.assert_array_equal(restored, plain(given))


def test_report_lists_the_shapes_with_a_graph(opened: OnnxCudaBackend) -> None:
    assert opened.report()["cuda_graphs"] == []
    opened.warm_up([(1, 3, 8, 8), (2, 3, 4, 8), (1, 3, 8, 8)])
    assert opened.report()["cuda_graphs"] == [[1, 3, 8, 8], [2, 3, 4, 8]]


def test_close_twice_then_use(opened: OnnxCudaBackend) -> None:
    check_closed_twice(opened, noise(1, 3, 8, 8))
    with pytest.raises(RestorerClosedError):
        opened.infer_on_device(1, 2, (1, 3, 8, 8), 0)
    with pytest.raises(RestorerClosedError):
        opened.warm_up([(1, 3, 8, 8)])


def test_shapes_that_break_the_contract(opened: OnnxCudaBackend) -> None:
    for use in (lambda shape: opened.warm_up([shape]), lambda shape: opened.infer_on_device(1, 2, shape, 0)):
        with pytest.raises(BackendError, match="multiples of 4"):
            use((1, 3, 6, 8))
    assert opened.report()["cuda_graphs"] == []


class Recorder:
    """Stands for onnxruntime on a GPU: no arithmetic, but every run is noted as (stream, thread, graph, shape, addresses)."""

    def __init__(self) -> None:
        self.runs: list[SimpleNamespace] = []
        self.sessions: list[tuple[int | None, bool]] = []
        self.failures: list[Exception] = []
        self.addresses = iter(range(1000, 10**6, 1000))
        self.OrtValue = SimpleNamespace(ortvalue_from_shape_and_type=self.value)
        self.RunOptions = Options

    def value(self, shape: list[int], kind: type, device: str, number: int) -> SimpleNamespace:
        made = SimpleNamespace(shape=tuple(shape), where=(device, number), address=next(self.addresses))
        made.update_inplace = lambda batch: setattr(made, "content", batch)
        made.numpy = lambda: np.zeros(shape, kind)
        return made

    def open_session(self, stream: int | None, graphs: bool) -> SimpleNamespace:
        self.sessions.append((stream, graphs))
        node = SimpleNamespace(name="image")
        return SimpleNamespace(
            get_inputs=lambda: [node],
            get_outputs=lambda: [SimpleNamespace(name="restored")],
            io_binding=Binding,
            run_with_iobinding=lambda binding, options: self.run(stream, binding, options),
        )

    def run(self, stream: int | None, binding: "Binding", options: "Options") -> None:
        if self.failures:
            raise self.failures.pop()
        thread = threading.get_ident()
        self.runs.append(SimpleNamespace(stream=stream, thread=thread, bound=dict(binding.bound), options=dict(options.entries)))


class Options:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value


class Binding:
    def __init__(self) -> None:
        self.bound: dict[str, Any] = {}

    def bind_ortvalue_input(self, name: str, value: SimpleNamespace) -> None:
        self.bound[name] = (*value.where, value.shape, value.address)

    bind_ortvalue_output = bind_ortvalue_input

    def bind_input(self, name: str, device: str, number: int, kind: type, shape: list[int], pointer: int) -> None:
        self.bound[name] = (device, number, tuple(shape), pointer)

    bind_output = bind_input


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def recorded(recorder: Recorder, small_spec: ModelSpec) -> Iterator[OnnxCudaBackend]:
    backend = OnnxCudaBackend(
        recorder.open_session(None, True),
        small_spec,
        {},
        vendor_errors(onnxruntime),
        runtime=recorder,  # type: ignore[arg-type]
        open_session=recorder.open_session,
        device=Device("cuda", 1),
        graphs=True,
    )
    yield backend
    backend.close()


def test_graphs_are_captured_and_replayed_by_one_thread_at_fixed_addresses(recorded, recorder: Recorder) -> None:
    recorded.warm_up([(1, 3, 8, 8), (1, 3, 8, 12)])
    caller = threading.Thread(target=recorded.infer, args=(noise(1, 3, 8, 8),))
    caller.start()
    caller.join()
    recorded.infer(noise(1, 3, 8, 12))
    assert len({run.thread for run in recorder.runs}) == 1
    assert recorder.runs[0].thread != threading.get_ident()
    by_graph: dict[str, set[int]] = {}
    for run in recorder.runs:
        by_graph.setdefault(run.options["gpu_graph_id"], set()).add((run.bound["image"], run.bound["restored"]))
    assert {graph: len(places) for graph, places in by_graph.items()} == {"1": 1, "2": 1}
    assert recorder.runs[0].bound == {"image": ("cuda", 1, (1, 3, 8, 8), 1000), "restored": ("cuda", 1, (1, 3, 8, 8), 2000)}


def test_shapes_that_were_not_warmed_up_are_never_captured(recorded, recorder: Recorder) -> None:
    recorded.infer(noise(1, 3, 8, 8))
    recorded.infer(noise(1, 3, 8, 8))
    assert [run.options["gpu_graph_id"] for run in recorder.runs] == ["-1", "-1"]
    assert recorder.runs[0].bound == recorder.runs[1].bound


def test_graphs_are_bounded(recorded, recorder: Recorder) -> None:
    recorded.warm_up([(1, 3, 8, 4 * i) for i in range(1, GRAPHS + 3)])
    graphs = [run.options["gpu_graph_id"] for run in recorder.runs]
    assert set(graphs) == {"-1", *map(str, range(1, GRAPHS + 1))}
    assert len(recorded.report()["cuda_graphs"]) == GRAPHS


def test_a_failed_capture_goes_on_in_another_session_without_graphs(recorded, recorder: Recorder) -> None:
    recorder.failures.append(STATE.Fail("CUDA failure 900: operation not permitted when stream is capturing\nmore"))
    recorded.warm_up([(1, 3, 8, 8), (1, 3, 8, 12)])
    assert recorder.sessions == [(None, True), (None, False)]
    assert [run.options["gpu_graph_id"] for run in recorder.runs] == ["-1", "-1"]
    off = "off: CUDA failure 900: operation not permitted when stream is capturing"
    assert recorded.report()["cuda_graphs"] == off


def test_no_memory_for_a_capture_is_typed_and_keeps_the_session(recorded, recorder: Recorder) -> None:
    recorder.failures.append(FULL)
    with pytest.raises(DeviceMemoryError) as caught:
        recorded.warm_up([(1, 3, 8, 12)])
    assert caught.value.tile == (8, 12)
    assert recorder.sessions == [(None, True)]
    recorded.warm_up([(1, 3, 8, 8)])
    assert recorded.report()["cuda_graphs"] == [[1, 3, 8, 8]]


def test_out_of_memory_frees_the_arrays_of_other_shapes(recorded, recorder: Recorder) -> None:
    recorded.infer(noise(1, 3, 8, 8))
    recorder.failures.append(FULL)
    with pytest.raises(DeviceMemoryError) as caught:
        recorded.infer(noise(1, 3, 8, 12))
    assert caught.value.tile == (8, 12)
    recorded.infer(noise(1, 3, 8, 8))
    assert recorder.runs[0].bound["image"] != recorder.runs[1].bound["image"]


def test_each_stream_of_the_callers_has_a_session_and_nothing_waits(recorded, recorder: Recorder) -> None:
    for stream in (77, 77, 0, 88, 77):
        recorded.infer_on_device(5, 6, (1, 3, 8, 8), stream)
    streams = [stream for stream, _ in recorder.sessions[1:]]
    assert streams == [77, LEGACY_STREAM, 88, 77]  # two are kept: 77 went when 88 came
    assert [run.stream for run in recorder.runs] == [77, 77, LEGACY_STREAM, 88, 77]
    assert recorder.runs[0].bound == {"image": ("cuda", 1, (1, 3, 8, 8), 5), "restored": ("cuda", 1, (1, 3, 8, 8), 6)}
    assert all(run.options == {"disable_synchronize_execution_providers": "1"} for run in recorder.runs)
    assert {run.thread for run in recorder.runs} == {threading.get_ident()}
    assert recorded.device_index == 1


def test_out_of_memory_on_a_callers_stream(recorded, recorder: Recorder) -> None:
    recorder.failures.append(FULL)
    with pytest.raises(DeviceMemoryError) as caught:
        recorded.infer_on_device(5, 6, (1, 3, 8, 16), 77)
    assert caught.value.tile == (8, 16)
