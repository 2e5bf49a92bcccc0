"""A network for the numpy device, whose every inference can be watched, held up or made to fail."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from restore_sdk.cuda.memory import DeviceBuffer, Stream
from restore_sdk.cuda.numpy_device import NumpyBuffer, NumpyStream
from restore_sdk.cuda.slots import Shape, bytes_of


class HostNetwork:
    """x -> 2x + 1, each pixel repeated `scale` times both ways. Numbers below count batches from 0 in the order they run.

    on_enqueue(n): called as batch n is queued, on the caller's thread. on_infer(n): called as it runs, on the stream's thread.
    """

    def __init__(
        self,
        *,
        scale: int = 1,
        capturable: bool = False,
        on_enqueue: Callable[[int], None] = lambda number: None,
        on_infer: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.scale, self.capturable = scale, capturable
        self.on_enqueue, self.on_infer = on_enqueue, on_infer
        self.queued, self.inferred = 0, 0
        self.pointers: list[tuple[int, int, int]] = []  # (slot, given, restored) of each enqueue

    def output_shape(self, shape: Shape) -> Shape:
        N, C, H, W = shape
        return N, C, H * self.scale, W * self.scale

    def enqueue(self, slot: int, given: DeviceBuffer, restored: DeviceBuffer, shape: Shape, stream: Stream) -> None:
        number, self.queued = self.queued, self.queued + 1
        self.on_enqueue(number)
        assert isinstance(given, NumpyBuffer)
        assert isinstance(restored, NumpyBuffer)
        assert isinstance(stream, NumpyStream)
        self.pointers.append((slot, given.pointer, restored.pointer))
        stream.queue("infer", slot, lambda: self._infer(given, restored, shape))

    def _infer(self, given: NumpyBuffer, restored: NumpyBuffer, shape: Shape) -> None:
        number, self.inferred = self.inferred, self.inferred + 1
        self.on_infer(number)
        target = self.output_shape(shape)
        batch = given.bytes(bytes_of(shape)).view(np.float32).reshape(shape)
        restored.bytes(bytes_of(target)).view(np.float32).reshape(target)[:] = self.expected(batch)

    def expected(self, batch: np.ndarray) -> np.ndarray:
        """What this network makes of `batch`."""
        return (2 * batch + 1).repeat(self.scale, 2).repeat(self.scale, 3)


def batches(count: int, *shape: int, seed: int = 0) -> list[np.ndarray]:
    """Random float32 batches, each different."""
    random = np.random.default_rng(seed)
    return [random.random(shape or (1, 3, 8, 8), np.float32) for _ in range(count)]
