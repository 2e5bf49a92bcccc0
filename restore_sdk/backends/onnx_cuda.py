"""An ONNX Runtime session on an NVIDIA GPU: inputs and outputs at fixed addresses there, CUDA graphs, and the caller's arrays.

Two facts of ONNX Runtime's CUDA provider shape this (cuda_execution_provider.cc, cuda_graph.cc). It keeps a captured graph for
the thread that captured it, so one thread has to run them all. And it replays what it captured, addresses included, so the
arrays of a captured shape stay where they are for as long as the session lives; graphs cannot be freed one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.backends.file_backend import FileBackend, Vendor
from restore_sdk.backends.signature import check_shape
from restore_sdk.backends.torch_cuda import RecentlyUsed
from restore_sdk.backends.vendor_errors import first_line, translated
from restore_sdk.errors import BackendError, DeviceMemoryError, RestorerClosedError
from restore_sdk.spec import ModelSpec

Shape: TypeAlias = tuple[int, ...]
OpenSession: TypeAlias = Callable[[int | None, bool], Any]  # on a CUDA stream or its own; able to capture graphs or not
Result = TypeVar("Result")

GRAPHS = 8  # captured at most; each keeps an input and an output on the device
PLACES = 4  # of other shapes; tiles of one image have at most four
STREAMS = 2  # of callers, that a session is kept for
NO_GRAPH = -1  # ONNX Runtime's word for a run that captures and replays nothing
LEGACY_STREAM = 1  # cudaStreamLegacy: the default stream by a handle that is not zero, which ONNX Runtime takes for none


class Device(NamedTuple):
    """Where a session's arrays lie, as ONNX Runtime calls it."""

    kind: str = "cuda"
    number: int = 0


class Place(NamedTuple):
    """The fixed input and output of one shape."""

    given: Any
    restored: Any
    binding: Any
    options: Any


class BoundSession:
    """A session with an input and an output on `device` for each of the last few shapes. For one thread."""

    def __init__(self, runtime: ModuleType, session: Any, spec: ModelSpec, device: Device) -> None:
        self._runtime, self._session, self._spec, self._device = runtime, session, spec, device
        self._captured: dict[Shape, Place] = {}
        self._recent: RecentlyUsed[Shape, Place] = RecentlyUsed(PLACES)

    @property
    def captured(self) -> list[list[int]]:
        """Shapes (N, C, H, W) that have a graph."""
        return [list(shape) for shape in self._captured]

    def run(self, batch: FloatNCHW) -> FloatNCHW:
        """Copy in, run, copy out; an array of the caller's own."""
        shape = batch.shape
        place = self._captured.get(shape) or self._recent.get(shape, lambda: self._placed(shape, NO_GRAPH))
        return self._run_at(place, batch)

    def capture(self, shape: Shape) -> None:
        """Capture a graph for `shape`, unless there are GRAPHS. ONNX Runtime repeats the first run by itself until it has it."""
        if shape in self._captured or len(self._captured) >= GRAPHS:
            return
        place = self._placed(shape, len(self._captured) + 1)
        self._run_at(place, np.zeros(shape, np.float32))
        self._captured[shape] = place

    def forget(self) -> None:
        """Free the arrays of all shapes that have no graph."""
        self._recent.clear()

    def _run_at(self, place: Place, batch: FloatNCHW) -> FloatNCHW:
        place.given.update_inplace(np.ascontiguousarray(batch))
        self._session.run_with_iobinding(place.binding, place.options)
        restored: FloatNCHW = place.restored.numpy()
        return restored if restored.flags.owndata else restored.copy()  # on the CPU it shows our own output

    def _placed(self, shape: Shape, graph: int) -> Place:
        binding = self._session.io_binding()
        given, restored = (
            self._runtime.OrtValue.ortvalue_from_shape_and_type(list(form), np.float32, *self._device)
            for form in (shape, _restored_shape(shape, self._spec))
        )
        binding.bind_ortvalue_input(self._session.get_inputs()[0].name, given)
        binding.bind_ortvalue_output(self._session.get_outputs()[0].name, restored)
        options = self._runtime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph))
        return Place(given, restored, binding, options)


class OnnxCudaBackend(FileBackend):
    """A session on a GPU. Calls of several threads take turns on a thread of its own.

    infer_on_device opens another session for each of the last two streams that it is given, with weights of its own; neither
    it nor the caller waits for the GPU.
    """

    def __init__(
        self,
        session: Any,
        spec: ModelSpec,
        report: Mapping[str, object],
        vendor: Vendor,
        *,
        runtime: ModuleType,
        open_session: OpenSession,
        device: Device,
        graphs: bool,
    ) -> None:
        super().__init__(spec, report, vendor)
        self._runtime, self._open_session, self._device, self._graphs = runtime, open_session, device, graphs
        self._bound: BoundSession | None = BoundSession(runtime, session, spec, device)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="restore-onnxruntime")
        self._streams: RecentlyUsed[int, Any] = RecentlyUsed(STREAMS)
        self._turn = Lock()  # of infer_on_device

    @property
    def device_index(self) -> int:
        """Number of the GPU."""
        return self._device.number

    def warm_up(self, shapes: Iterable[tuple[int, int, int, int]], /) -> None:
        """Run once on each (N, C, H, W), and capture a CUDA graph for it where that was asked for."""
        for shape in shapes:
            check_shape(shape, self._spec)
            if self._graphs:
                self._in_turn(lambda shape=shape: self._capture(tuple(shape)))  # type: ignore[misc]
            super().warm_up([shape])

    def infer_on_device(self, given: int, restored: int, shape: tuple[int, int, int, int], stream: int, /) -> None:
        """Queue one batch on the caller's stream (0: the default stream) and return at once.

        given, restored  device pointers of contiguous float32 (N, C, H, W) and (N, C, H * scale, W * scale)
        shape            of `given`

        Raises BackendError, DeviceMemoryError and RestorerClosedError.
        """
        check_shape(shape, self._spec)
        with self._turn:
            if self._bound is None:
                raise RestorerClosedError
            try:
                session = self._streams.get(stream, lambda: self._open_session(stream or LEGACY_STREAM, False))
                self._queue(session, given, restored, shape)
            except self._vendor as exc:
                raise translated("inference failed", exc, (shape[2], shape[3])) from exc

    def report(self) -> Mapping[str, object]:
        """What really runs, and which shapes have a CUDA graph."""
        bound = self._bound
        return {"cuda_graphs": bound.captured if bound is not None and self._graphs else [], **self._report}

    def close(self) -> None:
        """Release everything, once the calls under way are done; a second call does nothing."""
        self._worker.shutdown()
        with self._turn:
            self._bound = None
            self._streams.clear()

    def _run(self, batch: FloatNCHW) -> FloatNCHW:
        return self._in_turn(lambda: self._restore(batch))

    def _in_turn(self, work: Callable[[], Result]) -> Result:
        try:
            future = self._worker.submit(work)
        except RuntimeError as exc:  # it was shut down
            raise RestorerClosedError from exc
        return future.result()

    def _restore(self, batch: FloatNCHW) -> FloatNCHW:
        bound = self._opened()
        try:
            return bound.run(batch)
        except self._vendor:
            bound.forget()  # so that a smaller tile finds room
            raise

    def _capture(self, shape: Shape) -> None:
        """A capture that failed leaves its stream, and so its session, unusable: another one goes on without graphs."""
        try:
            self._opened().capture(shape)
        except self._vendor as exc:
            error: BackendError = translated("no CUDA graph can be captured", exc, (shape[2], shape[3]))
            if isinstance(error, DeviceMemoryError):
                raise error from exc
            self._graphs = False
            self._report["cuda_graphs"] = f"off: {first_line(exc)}"
            self._bound = BoundSession(self._runtime, self._open_session(None, False), self._spec, self._device)

    def _opened(self) -> BoundSession:
        if self._bound is None:
            raise RestorerClosedError
        return self._bound

    def _queue(self, session: Any, given: int, restored: int, shape: Shape) -> None:
        binding = session.io_binding()
        binding.bind_input(session.get_inputs()[0].name, *self._device, np.float32, list(shape), given)
        form = list(_restored_shape(shape, self._spec))
        binding.bind_output(session.get_outputs()[0].name, *self._device, np.float32, form, restored)
        options = self._runtime.RunOptions()
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        session.run_with_iobinding(binding, options)


def _restored_shape(shape: Shape, spec: ModelSpec) -> Shape:
    return (*shape[:2], shape[2] * spec.scale, shape[3] * spec.scale)
