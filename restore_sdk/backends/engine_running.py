"""An engine at work on one device: its execution contexts, the pipeline that feeds them, and the streams of callers."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import NamedTuple

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.backends.engine_context import EngineContext
from restore_sdk.backends.engine_finite import REMEDY
from restore_sdk.backends.engine_kernels import KeptKernels
from restore_sdk.backends.engine_overflow import OverflowMarks, Ticket
from restore_sdk.backends.engine_profile import EngineProfile, Shape
from restore_sdk.backends.engine_session import EngineSession
from restore_sdk.cuda.launching import Launcher, open_launcher
from restore_sdk.cuda.memory import Device, DeviceBuffer, Stream
from restore_sdk.cuda.pipeline import Pipeline
from restore_sdk.errors import DeviceMemoryError, RestoreWarning
from restore_sdk.spec import ModelSpec

UNTOLD = f"a result that was left on the GPU is not finite: the network overflowed; {REMEDY}"


class Place(NamedTuple):
    """The context of a caller's stream, and its number among those."""

    number: int
    context: EngineContext


class EngineRunner:
    """Runs one engine: as the network of a pipeline, whose slots have a context each, and on callers' own streams.

    A context is made when it is first needed: `contexts` is the most of either kind. Device and session stay the caller's and
    must outlive it.
    """

    def __init__(
        self, session: EngineSession, spec: ModelSpec, device: Device, contexts: int, *, kernels: KeptKernels | None = None
    ) -> None:
        """kernels: where those are kept that TensorRT compiles as it runs, if it does."""
        self._session, self._spec, self._device, self._most = session, spec, device, contexts
        self._of_slot: dict[int, EngineContext] = {}
        self._of_stream: OrderedDict[int, Place] = OrderedDict()
        self._kernels = kernels
        self._marks: OverflowMarks | None = None
        self._untold = False
        self._turn = threading.Lock()
        self._closed = False
        self._pipeline = Pipeline(device, self, slots=contexts)

    @property
    def profile(self) -> EngineProfile:
        """The shapes it runs."""
        return self._session.profile

    @property
    def notes(self) -> tuple[str, ...]:
        """What TensorRT thinks of the engine on this GPU, if it is not content."""
        return self._session.notes

    @property
    def capturable(self) -> bool:
        """Whether the pipeline may make CUDA graphs of the passes; tensorrt_rtx makes its own."""
        return not self._session.graphs

    def output_shape(self, shape: Shape) -> Shape:
        """(N, C, H * scale, W * scale)."""
        return shape[0], shape[1], shape[2] * self._spec.scale, shape[3] * self._spec.scale

    def enqueue(self, slot: int, given: DeviceBuffer, restored: DeviceBuffer, shape: Shape, stream: Stream) -> None:
        """Queue one pass on `stream`, in the context of `slot`; the pipeline calls this. Raises BackendError."""
        with on_device(self._device), self._turn:
            if slot not in self._of_slot:
                self._of_slot[slot] = EngineContext(self._session, self._device)
            context, output = self._of_slot[slot], self.output_shape(shape)
            context.enqueue(given.pointer, restored.pointer, shape, output, stream=stream.handle, mark=lambda: stream.synchronize)

    def release_memory(self) -> None:
        """Free the scratch memory of all contexts, once their passes are over. To be called by the pipeline alone, which has
        dropped the graphs that refer to it."""
        with on_device(self._device), self._turn:
            for context in (*self._of_slot.values(), *(place.context for place in self._of_stream.values())):
                context.release_memory()

    def run(self, batches: Iterable[FloatNCHW]) -> Generator[FloatNCHW, None, None]:
        """The results of `batches` in their order, copies overlapped. Raises BackendError."""
        yield from self._pipeline.run(batches)

    def enqueue_for_caller(self, given: int, restored: int, shape: Shape, stream: int, *, look: bool) -> Ticket | None:
        """Queue one pass on a caller's stream, by its handle. The streams seen last have a context each; one more stream takes
        over the context that was not used for longest, and this thread waits for it. Where memory does not suffice, it waits for
        the GPU and takes that of all other contexts. Raises DeviceMemoryError, BackendError, MissingExtraError.

        look: queue a look for NaN and infinity behind it; the answer is for overflowed().
        """
        launcher = open_launcher(self._device.index)
        queue = partial(self._queue_for_caller, launcher, given, restored, shape, stream, look=look)
        try:
            return queue()
        except DeviceMemoryError:
            self._pipeline.release_memory()
        return queue()

    def _queue_for_caller(
        self, launcher: Launcher, given: int, restored: int, shape: Shape, stream: int, *, look: bool
    ) -> Ticket | None:
        with on_device(self._device), self._turn:
            number, context = self._stream_place(stream)
            output = self.output_shape(shape)
            context.enqueue(given, restored, shape, output, stream=stream, mark=partial(launcher.mark, stream))
            if not look:
                return None
            if self._marks is None:
                self._marks = OverflowMarks(self._device, self._most)
            return self._marks.look(launcher, number, (given, shape), (restored, output), stream)

    def overflowed(self, ticket: Ticket | None = None) -> bool:
        """Whether the batch of `ticket`, whose stream was waited for, overflowed; None: whether any is known to have done so
        since this was asked last. Does not wait."""
        with self._turn:
            if self._marks is None:
                return False
            return self._marks.news() if ticket is None else self._marks.overflowed(ticket)

    def keep_kernels(self) -> None:
        """Keep what TensorRT has compiled so far for the next process."""
        if self._kernels is not None and (self._of_slot or self._of_stream):
            with on_device(self._device):
                self._kernels.save()

    def report(self) -> dict[str, object]:
        """What runs the engine, in JSON types."""
        pipeline = self._pipeline.report()
        graphs = "tensorrt_rtx" if self._session.graphs else pipeline["graph_refused"] or "one for each slot's shape"
        return {
            "profile": self.profile.as_json(),
            "contexts": len(self._of_slot) + len(self._of_stream),
            "cuda_graphs": graphs,
            "pipeline": pipeline,
            "kernels": None if self._kernels is None else self._kernels.report(),
        }

    def close(self) -> None:
        """Finish what runs and release everything, the engine included; a second call does nothing."""
        with self._turn:
            if self._closed:
                return
            self._closed = True
        self._pipeline.close()  # first: it waits for its streams, and closes them
        self.keep_kernels()
        with on_device(self._device), self._turn:
            with ExitStack() as closing:
                closing.callback(self._close_marks)  # last: what is queued may still write to them
                for context in self._of_slot.values():
                    closing.callback(context.close, idle=True)
                for place in self._of_stream.values():
                    closing.callback(place.context.close)
            self._of_slot.clear()
            self._of_stream.clear()
            del self._session, self._kernels  # now, while their GPU is the current one
        if self._untold:  # what nobody could be told by an error
            warnings.warn(UNTOLD, RestoreWarning, stacklevel=2)

    def _close_marks(self) -> None:
        marks, self._marks = self._marks, None
        if marks is not None:
            with marks:
                self._untold = marks.news()

    def _stream_place(self, stream: int) -> Place:
        if stream not in self._of_stream:
            if len(self._of_stream) < self._most:
                # A caller's stream may be the default one, which no graph can be captured on, and addresses change with each call
                context = EngineContext(self._session, self._device, graphs=False)
                self._of_stream[stream] = Place(len(self._of_stream), context)
            else:
                self._of_stream[stream] = self._of_stream.popitem(last=False)[1]
        self._of_stream.move_to_end(stream)
        return self._of_stream[stream]


def on_device(device: Device) -> AbstractContextManager[object]:
    """TensorRT works on the GPU that is current on the calling thread. Host memory that stands in for one is always there."""
    current = getattr(device, "current", None)
    return nullcontext() if current is None else current("running TensorRT")
