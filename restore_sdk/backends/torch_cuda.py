"""A program on an NVIDIA GPU through PyTorch: one captured CUDA graph for each of the last few shapes.

A graph replays every kernel of a pass with one launch, which is what small convolutions on a fast GPU wait for. Capture follows
"CUDA Graphs" in PyTorch's notes on CUDA semantics: warm up on a side stream, static input and output, replay.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from types import ModuleType
from typing import Any, Generic, TypeVar

import numpy as np

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.errors import DeviceMemoryError, RestorerClosedError

GRAPHS = 4  # each holds the activations of its shape; tiles of one image have at most four
WARM_UPS = 3

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentlyUsed(Generic[Key, Value]):
    """At most `limit` values by key; the one that was not asked for longest goes first, before its successor is made."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of `key`, made if need be."""
        if key not in self._values:
            while len(self._values) >= self._limit:
                self._values.popitem(last=False)
            self._values[key] = make()
        self._values.move_to_end(key)
        return self._values[key]

    def clear(self) -> None:
        self._values.clear()

    def __len__(self) -> int:
        return len(self._values)


class CudaProgram:
    """Runs `module`, whose weights lie on `device`. Calls of several threads take turns; one shape has one graph, so a repeated
    call gives the same bits. Work is issued on a stream of its own."""

    def __init__(self, torch: ModuleType, module: Any, device: str, *, graphs: int = GRAPHS) -> None:
        self._torch, self._module, self._device = torch, module, device
        self._stream = torch.cuda.Stream(device)
        self._replays: RecentlyUsed[tuple[int, ...], Replay] = RecentlyUsed(graphs)
        self._turn = Lock()

    def run(self, batch: FloatNCHW, /) -> FloatNCHW:
        torch = self._torch
        with self._turn, torch.cuda.device(self._device), torch.cuda.stream(self._stream), torch.inference_mode():
            if self._module is None:
                raise RestorerClosedError
            try:
                return self._replay(batch.shape)(batch)
            except torch.OutOfMemoryError as exc:
                self._forget()
                free = int(torch.cuda.mem_get_info(self._device)[0])
                raise DeviceMemoryError(None, free, (batch.shape[2], batch.shape[3])) from exc

    def close(self) -> None:
        with self._turn, self._torch.cuda.device(self._device):
            self._module = None
            self._forget()

    def _replay(self, shape: tuple[int, ...]) -> Replay:
        make = lambda: Replay(self._torch, self._module, shape, self._device)  # noqa: E731 used twice
        try:
            return self._replays.get(shape, make)
        except self._torch.OutOfMemoryError:
            self._forget()  # the graphs of other shapes hold memory
            return self._replays.get(shape, make)

    def _forget(self) -> None:
        self._replays.clear()
        self._torch.cuda.empty_cache()


class Replay:
    """The captured pass of one shape, on the stream that is current when it is made and called."""

    def __init__(self, torch: ModuleType, module: Any, shape: tuple[int, ...], device: str) -> None:
        batch, channels, height, width = shape
        self._given = torch.empty(shape, device=device, memory_format=torch.channels_last).zero_()
        rows = torch.empty((batch, height, width, channels), pin_memory=True)
        self._staged = rows.permute(0, 3, 1, 2)  # channels last, as on the device, so that the copy is one straight run
        self._graph = torch.cuda.CUDAGraph()
        # TF32 would round float32 programs to 10 bits; the deterministic kernels give the same bits each time
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            for _ in range(WARM_UPS):
                module(self._given)
            torch.cuda.current_stream().synchronize()
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._restored = module(self._given)

    def __call__(self, batch: FloatNCHW) -> FloatNCHW:
        np.copyto(self._staged.numpy(), batch)
        self._given.copy_(self._staged, non_blocking=True)
        self._graph.replay()
        restored: FloatNCHW = self._restored.contiguous().cpu().numpy()  # waits for the stream, so the staging is free again
        return restored
