"""One place in the pipeline's ring: the memory of a batch on both sides, the marks between its stages, its CUDA graph."""

from __future__ import annotations

from contextlib import ExitStack
from math import prod
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from restore_sdk.cuda.memory import Device, DeviceBuffer, Graph, GraphStream, PinnedBuffer, Resource, Stream
from restore_sdk.errors import BackendError

FloatNCHW: TypeAlias = NDArray[np.float32]
Shape: TypeAlias = tuple[int, int, int, int]


class Network(Protocol):
    """What runs between the copies."""

    def output_shape(self, shape: Shape) -> Shape:
        """(N, C, H, W) of the result for a batch of `shape`."""
        ...

    def enqueue(self, slot: int, given: DeviceBuffer, restored: DeviceBuffer, shape: Shape, stream: Stream) -> None:
        """Queue the work on `stream` and return at once: contiguous float32 NCHW in and out. Work of one slot never overlaps,
        and calls never do; work of different slots runs in order on one stream. Raises BackendError."""
        ...


@runtime_checkable
class CapturableNetwork(Network, Protocol):
    """A network that can say whether its work may become a CUDA graph: always the same kernels for a slot and shape."""

    @property
    def capturable(self) -> bool:
        """False: queue it anew each time."""
        ...


class Buffers(Resource):
    """The four buffers of a slot, for up to `given` bytes in and `restored` bytes out."""

    def __init__(self, device: Device, given: int, restored: int) -> None:
        with ExitStack() as undo:
            self.pinned_given: PinnedBuffer = undo.enter_context(device.pinned(given))
            self.given: DeviceBuffer = undo.enter_context(device.buffer(given))
            self.restored: DeviceBuffer = undo.enter_context(device.buffer(restored))
            self.pinned_restored: PinnedBuffer = undo.enter_context(device.pinned(restored))
            self._owned = undo.pop_all()

    def close(self) -> None:
        self._owned.close()


class Slot(Resource):
    """Memory and marks for one batch in flight. Only touched while nothing of it is queued."""

    def __init__(self, device: Device, index: int) -> None:
        self.index, self._device = index, device
        self.buffers: Buffers | None = None
        self.replays = 0  # graph launches so far
        self._graph: Graph | None = None
        self._graph_shape: Shape | None = None
        self._last_shape: Shape | None = None
        with ExitStack() as undo:
            self.arrived = undo.enter_context(device.event())
            self.inferred = undo.enter_context(device.event())
            self.left = undo.enter_context(device.event())
            self._owned = undo.pop_all()

    def fit(self, shape: Shape, restored_shape: Shape) -> Buffers:
        """Buffers that hold both: those that are there, or larger ones in their place. Raises DeviceMemoryError, then empty."""
        given, restored = bytes_of(shape), bytes_of(restored_shape)
        old = self.buffers
        if old is not None and given <= old.given.nbytes and restored <= old.restored.nbytes:
            return old
        if old is not None:
            given, restored = max(given, old.given.nbytes), max(restored, old.restored.nbytes)
        self.release()
        self.buffers = Buffers(self._device, given, restored)
        return self.buffers

    def infer(self, network: Network, buffers: Buffers, shape: Shape, stream: Stream) -> str | None:
        """Queue the network's work, as a graph from the second batch of one shape on: the first one has settled the network for
        that shape. Returns why no graph could be made, if one was tried; then the work is queued plainly."""
        refusal = None
        if self._graph_shape != shape:
            self._drop_graph()
            if self._last_shape == shape:
                refusal = self._capture(network, buffers, shape, stream)
        if self._graph is None:
            network.enqueue(self.index, buffers.given, buffers.restored, shape, stream)
        else:
            self._graph.launch(stream)
            self.replays += 1
        self._last_shape = shape
        return refusal

    def release(self) -> None:
        """Close the buffers and the graph that works on them."""
        self._drop_graph()
        self._last_shape = None
        if self.buffers is not None:
            buffers, self.buffers = self.buffers, None
            buffers.close()

    def close(self) -> None:
        with self._owned:  # the events close last, also where a buffer's close raises
            self.release()

    def _capture(self, network: Network, buffers: Buffers, shape: Shape, stream: Stream) -> str | None:
        if not (isinstance(network, CapturableNetwork) and network.capturable and isinstance(stream, GraphStream)):
            return None
        try:
            self._graph = stream.capture(
                lambda: network.enqueue(self.index, buffers.given, buffers.restored, shape, stream),
            )
        except BackendError as exc:
            return str(exc)
        self._graph_shape = shape
        return None

    def _drop_graph(self) -> None:
        if self._graph is not None:
            graph, self._graph, self._graph_shape = self._graph, None, None
            graph.close()


def bytes_of(shape: Shape) -> int:
    """Bytes of a float32 array."""
    return 4 * prod(shape)


def view(buffer: PinnedBuffer, shape: Shape) -> FloatNCHW:
    """The first bytes of `buffer` as a float32 array; shares its memory."""
    return buffer.array[: bytes_of(shape)].view(np.float32).reshape(shape)
