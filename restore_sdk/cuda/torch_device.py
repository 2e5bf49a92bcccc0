"""The protocol through PyTorch: its streams, events and caching allocators, where a program runs in PyTorch anyway.

No CUDA binding but PyTorch itself is needed. Memory is allocated on a stream on which nothing of ours ever runs: the caching
allocator hands freed memory out again in the order of the stream that it was allocated on, and ours is used on others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_sdk.cuda.faults import check_index, translated
from restore_sdk.cuda.memory import DeviceBuffer, Event, PinnedBuffer, Resource, check_copy, check_open, check_size, own
from restore_sdk.cuda.torch_switches import CAPTURING
from restore_sdk.extras import require


class TorchDevice(Resource):
    """GPU `index` as PyTorch sees it."""

    implementation = "torch"

    def __init__(self, index: int = 0) -> None:
        self.torch = require("torch", "torch")
        check_index(index, self.torch.cuda.device_count() if self.torch.cuda.is_available() else 0)
        self.index = index
        self.name = str(self.torch.cuda.get_device_name(index))
        major, minor = self.torch.cuda.get_device_capability(index)
        self.capability = (int(major), int(minor))
        self.home = self.torch.cuda.Stream(index)  # what memory belongs to

    @contextmanager
    def current(self, action: str, required: int | None = None) -> Iterator[None]:
        """The device on this thread; PyTorch's exceptions come out as ours. `required`: bytes asked for."""
        with translated(action, (RuntimeError,), required), self.torch.cuda.device(self.index):
            yield

    def memory(self) -> tuple[int, int]:
        with self.current("reading the free memory"):
            free, total = self.torch.cuda.mem_get_info(self.index)
        return int(free), int(total)

    def buffer(self, nbytes: int) -> TorchBuffer:
        return TorchBuffer(self, nbytes)

    def pinned(self, nbytes: int) -> TorchPinned:
        return TorchPinned(self, nbytes)

    def stream(self) -> TorchStream:
        return TorchStream(self)

    def event(self) -> TorchEvent:
        return TorchEvent(self)

    def close(self) -> None:
        """Nothing to release: streams and contexts are PyTorch's."""


class TorchBuffer(Resource):
    """A tensor of bytes."""

    def __init__(self, device: TorchDevice, nbytes: int) -> None:
        check_size(nbytes)
        torch = device.torch
        with CAPTURING, device.current("allocating device memory", nbytes), torch.cuda.stream(device.home):
            self.tensor: Any = torch.empty(nbytes, dtype=torch.uint8, device=f"cuda:{device.index}")
            # PyTorch hands out 32 streams in turn, so someone else's may be `home` too, and this may be memory that they gave up
            # with work on it still queued. It will be used on other streams, which do not wait for that
            device.home.synchronize()
        self.nbytes, self.pointer = nbytes, int(self.tensor.data_ptr())

    def close(self) -> None:
        self.tensor, self.pointer = None, 0


class TorchPinned(Resource):
    """A tensor of bytes in page-locked memory."""

    def __init__(self, device: TorchDevice, nbytes: int) -> None:
        check_size(nbytes)
        torch = device.torch
        with device.current("allocating pinned host memory", nbytes):
            self.tensor: Any = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)
        self.nbytes, self.pointer = nbytes, int(self.tensor.data_ptr())
        self.array: NDArray[np.uint8] = self.tensor.numpy()

    def close(self) -> None:
        if self.pointer:
            self.tensor, self.pointer = None, 0
            self.array = np.empty(0, np.uint8)


class TorchEvent(Resource):
    """Sleeps while it waits."""

    def __init__(self, device: TorchDevice) -> None:
        self._device = device
        with device.current("creating an event"):
            self.vendor: Any = device.torch.cuda.Event(blocking=True)

    @property
    def done(self) -> bool:
        with self._device.current("asking an event"):
            return bool(self.vendor.query())

    def synchronize(self) -> None:
        with self._device.current("work queued on the GPU"):
            self.vendor.synchronize()

    def close(self) -> None:
        """PyTorch destroys it with its last reference."""


class TorchStream(Resource):
    """One of PyTorch's pool, which do not wait for the default stream."""

    def __init__(self, device: TorchDevice) -> None:
        self._device = device
        with device.current("creating a stream"):
            self._vendor: Any = device.torch.cuda.Stream(device.index)
        self.handle = int(self._vendor.cuda_stream)

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer, nbytes: int) -> None:
        self._copy(own(target, TorchBuffer), own(source, TorchPinned), nbytes, "copying to the GPU")

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer, nbytes: int) -> None:
        self._copy(own(target, TorchPinned), own(source, TorchBuffer), nbytes, "copying from the GPU")

    def record(self, event: Event) -> None:
        check_open(self)
        with self._device.current("recording an event"):
            own(event, TorchEvent).vendor.record(self._vendor)

    def wait(self, event: Event) -> None:
        check_open(self)
        with self._device.current("waiting for an event"):
            self._vendor.wait_event(own(event, TorchEvent).vendor)

    def synchronize(self) -> None:
        check_open(self)
        with self._device.current("work queued on the GPU"):
            self._vendor.synchronize()

    def close(self) -> None:
        if self.handle:
            self.handle = 0
            with self._device.current("closing a stream"):
                self._vendor.synchronize()

    def _copy(self, target: TorchBuffer | TorchPinned, source: TorchBuffer | TorchPinned, nbytes: int, action: str) -> None:
        check_open(self)
        check_copy(target, source, nbytes)
        with self._device.current(action), self._device.torch.cuda.stream(self._vendor):
            target.tensor[:nbytes].copy_(source.tensor[:nbytes], non_blocking=True)
