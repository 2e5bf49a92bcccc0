"""A program on an NVIDIA GPU through PyTorch: one captured CUDA graph for each of the last few shapes.

A graph replays every kernel of a pass with one launch, which is what small convolutions on a fast GPU wait for. Capture follows
"CUDA Graphs" in PyTorch's notes on CUDA semantics: warm up on a side stream, static input and output, replay. The first call of
a shape captures, and waits for the device; later ones on the caller's stream wait for nothing.
"""

from __future__ import annotations

import gc
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from traceback import clear_frames
from types import ModuleType
from typing import Any, Generic, TypeVar

import numpy as np

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.backends.file_backend import FileBackend, Vendor
from restore_sdk.backends.signature import check_shape
from restore_sdk.backends.vendor_errors import first_line, translated
from restore_sdk.cuda.memory import DeviceBuffer, Stream
from restore_sdk.cuda.pipeline import Pipeline
from restore_sdk.cuda.slots import Shape
from restore_sdk.cuda.torch_device import TorchDevice
from restore_sdk.cuda.torch_graphs import captured
from restore_sdk.cuda.torch_switches import CAPTURING, fixed_arithmetic
from restore_sdk.cuda.vendor_words import OUT_OF_MEMORY
from restore_sdk.errors import BackendError, DeviceMemoryError, RestorerClosedError, RestoreWarning
from restore_sdk.spec import ModelSpec

GRAPHS = 16  # each holds the activations of its shape; tiles of one image have up to 15 shapes, mostly fewer than 10
WARM_UPS = 3

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentlyUsed(Generic[Key, Value]):
    """At most `limit` values by key; the one that was not asked for longest goes first, before its successor is made. `retire` is
    called with each that goes."""

    def __init__(self, limit: int, retire: Callable[[Value], None] = lambda _value: None) -> None:
        self._limit, self._retire = limit, retire
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of `key`, made if need be."""
        if key not in self._values:
            while len(self._values) >= self._limit:
                self._retire(self._values.popitem(last=False)[1])
            self._values[key] = make()
        self._values.move_to_end(key)
        return self._values[key]

    def clear(self) -> None:
        while self._values:
            self._retire(self._values.popitem()[1])

    def __len__(self) -> int:
        return len(self._values)


class CudaProgram:
    """Runs `module`, whose weights lie on `device`. Calls of several threads take turns; one shape has one graph, so a repeated
    call gives the same bits. Work is issued on a stream of its own, or on one that the caller names."""

    def __init__(self, torch: ModuleType, module: Any, device: str, *, graphs: int = GRAPHS) -> None:
        self._torch, self._module, self._device = torch, module, device
        self._stream = torch.cuda.Stream(device)
        self._replays: RecentlyUsed[tuple[int, ...], Replay] = RecentlyUsed(graphs, lambda replay: replay.finish())
        self._turn = Lock()

    @property
    def index(self) -> int:
        """Number of the GPU."""
        return int(self._torch.device(self._device).index)

    def run(self, batch: FloatNCHW, /) -> FloatNCHW:
        with self._working(batch.shape) as replay:
            return replay(batch)

    def queue(self, given: int, restored: int, shape: Shape, restored_shape: Shape, stream: int) -> None:
        """Device pointers to contiguous float32 of `shape` and `restored_shape`; queued on the stream of that handle. May raise
        PyTorch's exceptions, BackendError, DeviceMemoryError, RestorerClosedError."""
        with self._working(shape) as replay, self._torch.cuda.stream(self._callers(stream)):
            if replay.restored_shape != restored_shape:
                made = f"the program makes {replay.restored_shape} of {shape}, its spec says {restored_shape}"
                raise BackendError(f"{made}; export it again with the right scale")
            replay.queue(self._tensor(given, shape), self._tensor(restored, restored_shape))

    def close(self) -> None:
        with self._turn, self._torch.cuda.device(self._device):
            self._module = None
            with suppress(RuntimeError):  # of work that failed, which was told then
                self._replays.clear()
                gc.collect()  # an exported module is part of a cycle, and its weights would stay
                self._forget()

    def release_memory(self) -> None:
        """Forget all graphs, once what uses them is over."""
        with self._turn, self._torch.cuda.device(self._device), suppress(RuntimeError):
            self._forget()

    @contextmanager
    def _working(self, shape: tuple[int, ...]) -> Iterator[Replay]:
        """This thread's turn, with the graph of `shape`."""
        torch = self._torch
        with self._turn, torch.cuda.device(self._device), torch.cuda.stream(self._stream), torch.inference_mode():
            if self._module is None:
                raise RestorerClosedError
            try:
                yield self._replay(shape)
            except RuntimeError as exc:
                if not is_full(self._torch, exc):
                    raise
                clear_frames(exc.__traceback__)  # they hold what had been computed
                self._forget()
                free = int(torch.cuda.mem_get_info(self._device)[0])
                raise DeviceMemoryError(None, free, (shape[2], shape[3])) from exc

    def _replay(self, shape: tuple[int, ...]) -> Replay:
        make = lambda: Replay(self._torch, self._module, shape, self._device)  # noqa: E731 used twice
        try:
            return self._replays.get(shape, make)
        except RuntimeError as exc:
            if not is_full(self._torch, exc):
                raise
        self._forget()  # the graphs of other shapes hold memory
        return self._replays.get(shape, make)

    def _forget(self) -> None:
        self._replays.clear()
        with CAPTURING:
            self._torch.cuda.empty_cache()

    def _callers(self, handle: int) -> Any:
        """PyTorch's object for someone's stream; 0 and 1 are the legacy default stream."""
        cuda = self._torch.cuda
        return cuda.default_stream(self._device) if handle in {0, 1} else cuda.ExternalStream(handle, device=self._device)

    def _tensor(self, pointer: int, shape: tuple[int, ...]) -> Any:
        return self._torch.as_tensor(Floats(pointer, shape), device=self._device)


def is_full(torch: ModuleType, exc: RuntimeError) -> bool:
    """Whether memory ran out; during a capture, ending it may raise another error on top."""
    full = torch.OutOfMemoryError
    return isinstance(exc, full) or isinstance(exc.__context__, full) or OUT_OF_MEMORY.search(str(exc)) is not None


class Floats:
    """Contiguous float32 at a device pointer, for PyTorch to look at."""

    def __init__(self, pointer: int, shape: tuple[int, ...]) -> None:
        data, version = (pointer, False), 3
        self.__cuda_array_interface__ = {"version": version, "shape": shape, "typestr": "<f4", "data": data, "strides": None}


class Replay:
    """The captured pass of one shape, on the stream that is current when it is made and called. Its input and output are the same
    memory each time, so whichever stream comes next waits for the one before. A pass that cannot be captured, which happens where
    someone else waits for the device meanwhile, is run kernel by kernel."""

    def __init__(self, torch: ModuleType, module: Any, shape: tuple[int, ...], device: str) -> None:
        batch, channels, height, width = shape
        self._torch = torch
        self._given = torch.empty(shape, device=device, memory_format=torch.channels_last).zero_()
        rows = torch.empty((batch, height, width, channels), pin_memory=True)
        self._staged = rows.permute(0, 3, 1, 2)  # channels last, as on the device, so that the copy is one straight run
        self._module, self._done = module, torch.cuda.Event()
        with fixed_arithmetic(torch), CAPTURING:
            for _ in range(WARM_UPS):
                self.restored_shape: tuple[int, ...] = tuple(module(self._given).shape)
            self._graph = self._captured(int(torch.device(device).index))

    def _captured(self, index: int) -> Any:
        """The graph, or None where there is none to be had."""
        try:
            graph, self._restored = captured(self._torch, index, lambda: self._module(self._given))
        except RuntimeError as exc:
            if is_full(self._torch, exc):
                raise
            shape = " x ".join(map(str, self._given.shape))
            why = f"{first_line(exc)}; batches of {shape} run without, which takes longer"
            warnings.warn(f"PyTorch captured no CUDA graph: {why}", RestoreWarning, stacklevel=2)
            return None
        return graph

    def _pass(self) -> None:
        if self._graph is not None:
            with CAPTURING:
                self._graph.replay()
        else:
            with fixed_arithmetic(self._torch), CAPTURING:
                self._restored = self._module(self._given)

    def __call__(self, batch: FloatNCHW) -> FloatNCHW:
        np.copyto(self._staged.numpy(), batch)
        self._torch.cuda.current_stream().wait_event(self._done)
        self._given.copy_(self._staged, non_blocking=True)
        self._pass()
        restored: FloatNCHW = self._restored.contiguous().cpu().numpy()  # waits for the stream, so the staging is free again
        return restored

    def queue(self, given: Any, restored: Any) -> None:
        """The same between two tensors on the device; does not wait."""
        stream = self._torch.cuda.current_stream()
        stream.wait_event(self._done)
        self._given.copy_(given, non_blocking=True)
        self._pass()
        restored.copy_(self._restored, non_blocking=True)
        self._done.record(stream)

    def finish(self) -> None:
        """Wait until no stream uses it, for its memory goes back to PyTorch."""
        self._done.synchronize()


class CudaProgramBackend(FileBackend):
    """A program on a GPU. `infer_many` keeps three batches in flight on streams of their own; `infer_on_device` works on the
    caller's stream. Calls take turns on the host, not on the device."""

    def __init__(self, program: CudaProgram, spec: ModelSpec, report: Mapping[str, object], vendor: Vendor) -> None:
        super().__init__(spec, report, vendor)
        self._program = program
        self._pipeline: Pipeline | None = None
        self._closed = False
        self._opening = Lock()

    @property
    def device_index(self) -> int:
        """Number of the GPU."""
        return self._program.index

    def infer_many(self, batches: Iterable[FloatNCHW], /) -> Iterator[FloatNCHW]:
        """The results of `infer` for each of `batches`, in order, copies overlapped. Raises BackendError, DeviceMemoryError, and
        RestorerClosedError after close(), once it has given the results of what was under way."""
        pipeline = self._opened()
        try:
            yield from pipeline.run(batches)
        except BackendError as exc:
            if self._closed and type(exc) is BackendError:  # the pipeline says that it is closed; the cause tells what else
                raise RestorerClosedError from exc
            raise

    def infer_on_device(self, given: int, restored: int, shape: Shape, stream: int, /) -> None:
        """Queue one batch on the caller's stream; see DeviceBackend. The first of a shape waits for the device."""
        try:
            self._program.queue(given, restored, shape, self.output_shape(shape), stream)
        except self._vendor as exc:
            raise translated("inference failed", exc, (shape[2], shape[3])) from exc

    def output_shape(self, shape: Shape) -> Shape:
        """Of the result; the pipeline asks."""
        check_shape(shape, self._spec)
        return shape[0], shape[1], shape[2] * self._spec.scale, shape[3] * self._spec.scale

    def enqueue(self, _slot: int, given: DeviceBuffer, restored: DeviceBuffer, shape: Shape, stream: Stream) -> None:
        """One batch of the pipeline."""
        self.infer_on_device(given.pointer, restored.pointer, shape, stream.handle)

    def release_memory(self) -> None:
        """The pipeline wants room."""
        self._program.release_memory()

    def close(self) -> None:
        """Release everything; a second call does nothing."""
        with self._opening:
            self._closed = True
            pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close()
        self._program.close()

    def _opened(self) -> Pipeline:
        """The pipeline, whoever asks first. Raises RestorerClosedError."""
        with self._opening:
            if self._closed:
                raise RestorerClosedError
            if self._pipeline is None:
                self._pipeline = Pipeline(TorchDevice(self.device_index), self)
            return self._pipeline

    def _run(self, batch: FloatNCHW) -> FloatNCHW:
        return self._program.run(batch)
