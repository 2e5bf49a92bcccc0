"""The protocol of a device: four nouns (device buffer, pinned buffer, event, stream) over raw pointers and handles.

Every resource is a context manager with one owner, who closes it; closing twice does nothing. Work queued on a stream runs in
order and later; what it uses must stay open until it is done. Any thread may use any of them, one thread at a time for each.
Sizes are bytes. A copy beyond either buffer raises OptionsError; memory that cannot be had, DeviceMemoryError; whatever else
the driver says, BackendError: at the call, or at the next `synchronize` that covers the failed work.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import BackendError, DeviceMemoryError, OptionsError

Kind = TypeVar("Kind")

NO_TILE = None  # a device knows bytes only; the pipeline names the tile


class Resource(Protocol):
    """Something that a `with` block closes."""

    @abstractmethod
    def close(self) -> None:
        """Release it; a second call does nothing."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class DeviceBuffer(Resource, Protocol):
    """Memory of the device."""

    @property
    def pointer(self) -> int:
        """Address on the device."""
        ...

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        ...


class PinnedBuffer(Resource, Protocol):
    """Page-locked memory of the host, the only kind that copies beside running work."""

    @property
    def array(self) -> NDArray[np.uint8]:
        """All of it, flat, `nbytes` long. Not to be touched after close(), nor while a copy of it is under way."""
        ...

    @property
    def pointer(self) -> int:
        """Address on the host."""
        ...

    @property
    def nbytes(self) -> int:
        """Size, bytes."""
        ...


class Event(Resource, Protocol):
    """A mark in a stream. Before its first record it counts as reached; recorded again it stands for the new place only."""

    @property
    def done(self) -> bool:
        """Whether the work before the mark is over."""
        ...

    def synchronize(self) -> None:
        """Block this thread until the mark is reached. Raises BackendError if the work before it failed."""
        ...


class Stream(Resource, Protocol):
    """A queue of work on the device. It waits for no other stream unless told to. close() waits for what is queued."""

    @property
    def handle(self) -> int:
        """The cudaStream_t as a number, for TensorRT and others that queue work themselves; 0 once closed."""
        ...

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None:
        """Queue a copy of the first `nbytes` to the device."""
        ...

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None:
        """Queue a copy of the first `nbytes` from the device."""
        ...

    def record(self, event: Event) -> None:
        """Put the mark after everything queued so far."""
        ...

    def wait(self, event: Event) -> None:
        """Let later work of this stream wait for the mark as it was last recorded. Does not block the thread."""
        ...

    def synchronize(self) -> None:
        """Block this thread until everything queued so far is over. Raises BackendError if some of it failed."""
        ...


class Graph(Resource, Protocol):
    """Captured work: replayed as a whole, with the same pointers and sizes, which must still be there."""

    def launch(self, stream: Stream) -> None:
        """Queue all of it on `stream`."""
        ...


@runtime_checkable
class GraphStream(Stream, Protocol):
    """A stream of an implementation that has CUDA graphs."""

    def capture(self, work: Callable[[], None]) -> Graph:
        """Call `work`, which queues on this stream; nothing runs, all of it becomes a graph. Raises BackendError if `work` does
        something that cannot be captured; the stream is as before then."""
        ...


class Device(Resource, Protocol):
    """One device and how we speak to it. Buffers, streams and events that it made must be closed before it."""

    @property
    def implementation(self) -> str:
        """ "cuda-core", "pycuda", or "numpy" for host memory that stands in for a device."""
        ...

    @property
    def index(self) -> int:
        """CUDA's ordinal."""
        ...

    @property
    def name(self) -> str:
        """What the maker calls it."""
        ...

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability; (0, 0) where it is no GPU."""
        ...

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the device, all processes counted."""
        ...

    def buffer(self, nbytes: int) -> DeviceBuffer:
        """Device memory with undefined content. Raises DeviceMemoryError."""
        ...

    def pinned(self, nbytes: int) -> PinnedBuffer:
        """Page-locked host memory with undefined content. Raises DeviceMemoryError."""
        ...

    def stream(self) -> Stream:
        """A new, empty stream."""
        ...

    def event(self) -> Event:
        """A new, unrecorded event without timing."""
        ...


def check_size(nbytes: int) -> None:
    """Refuse what no allocation can be. Raises OptionsError."""
    if nbytes < 1:
        raise OptionsError("nbytes", nbytes, "1 or more bytes")


def check_copy(target: DeviceBuffer | PinnedBuffer, source: DeviceBuffer | PinnedBuffer, nbytes: int) -> None:
    """Refuse a copy beyond either end: the driver would not. Raises OptionsError."""
    largest = min(target.nbytes, source.nbytes)
    if not 1 <= nbytes <= largest:
        raise OptionsError("nbytes", nbytes, f"1 to {largest}, what the smaller of both buffers holds")


def check_open(stream: Stream) -> None:
    """Refuse work for a closed stream: handle 0 would be the default one. Raises BackendError."""
    if not stream.handle:
        raise BackendError("a stream was used after close(); make a new one")


def own(resource: object, kind: type[Kind]) -> Kind:
    """`resource`, which must come from the same implementation. Raises OptionsError."""
    if not isinstance(resource, kind):
        raise OptionsError("resource", type(resource).__name__, f"a {kind.__name__}, made by the same implementation")
    return resource


def out_of_memory(required: int | None, free: int | None) -> DeviceMemoryError:
    """The error of an allocation that asked for `required` bytes while `free` were left; None where unknown."""
    return DeviceMemoryError(required, free, NO_TILE)
