"""PyTorch with a CUDA that is played on the host: every operation happens at once, and `log` says on which stream.

It shows that the code calls what it should in the order it should, with PyTorch's own tensors; not that a GPU does it.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

TOTAL = 1 << 30  # bytes of the device
CAPTURES = 50  # handle of the stream of captures


class PlayedStream:
    def __init__(self, cuda: PlayedCuda, handle: int) -> None:
        self.cuda, self.cuda_stream = cuda, handle

    def wait_event(self, event: PlayedEvent) -> None:
        self.cuda.log.append(("wait", event.recorded_on, self.cuda_stream))

    def synchronize(self) -> None:
        self.cuda.log.append(("synchronize", self.cuda_stream))


class PlayedEvent:
    def __init__(self, cuda: PlayedCuda) -> None:
        self.cuda, self.recorded_on = cuda, 0

    def record(self, stream: PlayedStream) -> None:
        self.recorded_on = stream.cuda_stream
        self.cuda.log.append(("record", stream.cuda_stream))

    def synchronize(self) -> None:
        self.cuda.log.append(("finished", self.recorded_on))

    def query(self) -> bool:
        return True


class PlayedGraph:
    """Replays by calling the network again with the tensors that were captured."""

    def __init__(self, cuda: PlayedCuda) -> None:
        self.cuda = cuda

    def replay(self) -> None:
        if self.cuda.seeded:
            raise RuntimeError("Offset increment outside graph capture encountered unexpectedly.")
        self.cuda.log.append(("replay", self.cuda.current_stream().cuda_stream))
        given, restored = self.captured
        restored.copy_(self.cuda.network(given))


class PlayedCuda:
    """What is used of torch.cuda. `network` is what graphs replay; `full` how many more passes run out of memory, `refused` how
    many more captures fail as they end."""

    def __init__(self, network: Callable[[Any], Any]) -> None:
        self.network, self.full, self.refused = network, 0, 0
        self.recording = self.seeded = False
        self.log: list[tuple[object, ...]] = []
        self.allocated = self.reserved = 0  # bytes: PyTorch keeps what it is given back
        self._handles = count(100)
        self._current = [PlayedStream(self, 0)]
        self.Event = lambda **_options: PlayedEvent(self)
        self.CUDAGraph = lambda: PlayedGraph(self)
        self._last: tuple[Any, Any] | None = None

    def module(self, given: Any) -> Any:
        """The network, as a captured one is seen by the graph."""
        if self.full:
            self.full -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self._last = given, self.network(given)
        return self._last[1]

    def Stream(self, _device: object, priority: int = 0) -> PlayedStream:  # noqa: N802
        return PlayedStream(self, CAPTURES if priority else next(self._handles))

    def ExternalStream(self, handle: int, device: object) -> PlayedStream:  # noqa: N802
        return PlayedStream(self, handle)

    def default_stream(self, _device: object) -> PlayedStream:
        return PlayedStream(self, 0)

    def current_stream(self, _device: object = None) -> PlayedStream:
        return self._current[-1]

    @contextmanager
    def stream(self, stream: PlayedStream) -> Iterator[None]:
        self._current.append(stream)
        try:
            yield
        finally:
            self._current.pop()

    @contextmanager
    def device(self, _device: object) -> Iterator[None]:
        yield

    @contextmanager
    def graph(self, graph: PlayedGraph, *, stream: PlayedStream, capture_error_mode: str, pool: object = None) -> Iterator[None]:
        """As in PyTorch 2.11, a capture whose end fails leaves the allocator and the random generator as they are amid one."""
        assert capture_error_mode == "thread_local"
        self.empty_cache()
        self.log.append(("capture", stream.cuda_stream))
        self.recording = self.seeded = True
        yield
        if self.refused:
            self.refused -= 1
            raise RuntimeError("operation failed due to a previous error during capture")
        self.recording = self.seeded = False
        graph.captured = self._last

    def graph_pool_handle(self) -> tuple[int, int]:
        return (0, 1)

    def end_allocating(self, _device: int, _pool: object) -> None:
        """torch._C._cuda_endAllocateToPool"""
        if not self.recording:
            raise RuntimeError("not recording to this pool")
        self.recording = False

    def allocate(self, nbytes: int) -> None:
        if self.allocated + nbytes > TOTAL:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {nbytes} bytes")
        self.allocated += nbytes
        self.reserved = max(self.reserved, self.allocated)

    def free(self, nbytes: int) -> None:
        self.allocated -= nbytes

    def empty_cache(self) -> None:
        if self.recording:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")
        self.reserved = self.allocated
        self.log.append(("empty_cache",))

    def memory_allocated(self, _device: object) -> int:
        return self.allocated

    def mem_get_info(self, _device: object) -> tuple[int, int]:
        return TOTAL - self.reserved, TOTAL

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def get_device_name(self, _device: object) -> str:
        return "played"

    def get_device_capability(self, _device: object) -> tuple[int, int]:
        return 9, 0


def played_torch(network: Callable[[Any], Any]) -> Any:
    """A module that is torch but for CUDA."""

    cuda = PlayedCuda(network)

    def empty(*shape: Any, device: object = None, pin_memory: bool = False, **options: Any) -> Any:
        if device is None:
            return torch.empty(*shape, **options)
        nbytes = torch.empty(*shape, device="meta", **options).nbytes
        cuda.allocate(nbytes)
        made = torch.empty(*shape, **options)
        weakref.finalize(made, cuda.free, nbytes)
        return made

    def as_tensor(thing: Any, device: object = None) -> Any:
        interface = thing.__cuda_array_interface__
        assert interface["typestr"] == "<f4"
        assert interface["strides"] is None
        pointer = ctypes.cast(interface["data"][0], ctypes.POINTER(ctypes.c_float))
        return torch.from_numpy(np.ctypeslib.as_array(pointer, interface["shape"]))

    internals = SimpleNamespace(_cuda_endAllocateToPool=cuda.end_allocating, _cuda_releasePool=lambda _device, _pool: None)
    filled = {"empty": empty, "zeros": lambda *shape, **_device: torch.zeros(*shape), "as_tensor": as_tensor}
    names = {name: getattr(torch, name) for name in ("device", "inference_mode", "OutOfMemoryError", "channels_last", "uint8")}
    return SimpleNamespace(**names, **filled, backends=torch.backends, cuda=cuda, _C=internals)
