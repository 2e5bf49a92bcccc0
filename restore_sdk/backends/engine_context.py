"""One execution context: the shape it is set to, its scratch memory, and the stream that may still be using it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from restore_sdk.backends.engine_answers import answered
from restore_sdk.backends.engine_profile import Shape
from restore_sdk.backends.engine_session import EngineSession
from restore_sdk.cuda.memory import Device, DeviceBuffer
from restore_sdk.errors import BackendError, DeviceMemoryError, RestorerClosedError

Settle = Callable[[], None]  # blocks until what is queued on a stream is over


class EngineContext:
    """Queues passes of one engine, one after the other on the device.

    Its scratch memory is as large as the largest shape that came needs, and belongs to the last pass until that is over: before
    it is replaced, or used from another stream, this thread waits. On one stream that happens only where a shape grows.
    """

    def __init__(self, session: EngineSession, device: Device, *, graphs: bool = True) -> None:
        """graphs: TensorRT may make CUDA graphs of the passes by itself."""
        self._session, self._device = session, device
        self._context = session.new_context(graphs=graphs)
        self._scratch: DeviceBuffer | None = None
        self._shape: Shape | None = None
        self._stream: int | None = None  # handle of the stream of the last pass
        self._settle: Settle | None = None  # waits for that pass
        self._turn = threading.Lock()

    def enqueue(self, given: int, restored: int, shape: Shape, output: Shape, *, stream: int, mark: Callable[[], Settle]) -> None:
        """Queue one pass on `stream`, a handle: from the device pointer `given`, `shape`, to `restored`, `output`.

        mark  called behind it; its answer waits for it, later and only if need be. Raises BackendError, DeviceMemoryError.
        """
        tile = (shape[2], shape[3])
        with self._turn:
            context = self._opened()
            if self._stream != stream:
                self._wait()
            if shape != self._shape:
                self._set_shape(context, shape, output)
            answered("take its input's address", lambda: context.set_tensor_address(self._session.given, given), tile=tile)
            answered("take its output's address", lambda: context.set_tensor_address(self._session.restored, restored), tile=tile)
            self._stream = stream
            try:
                answered("run the network", lambda: context.execute_async_v3(stream), tile=tile)
            finally:  # a pass that was refused may have queued a part of itself
                self._settle = mark()

    def release_memory(self) -> None:
        """Free the scratch memory once the last pass is over; the next pass sets its shape anew and gets what that needs."""
        with self._turn:
            if self._scratch is not None:
                with suppress(BackendError):  # a pass that failed is over too, and is told by its stream
                    self._wait()
                self._settle = None
                self._free_scratch()
                self._shape = None

    def close(self, *, idle: bool = False) -> None:
        """Release everything, once the last pass is over; a second call does nothing. idle: it is, and its stream is closed."""
        with self._turn:
            if self._context is None:
                return
            try:
                if not idle:
                    self._wait()
            finally:
                self._context = None
                self._free_scratch()

    def _opened(self) -> Any:
        if self._context is None:
            raise RestorerClosedError
        return self._context

    def _wait(self) -> None:
        """Should the waiting fail, the pass is not taken for over: its memory stays, and whoever comes next waits again."""
        if self._settle is not None:
            self._settle()
            self._settle = None

    def _set_shape(self, context: Any, shape: Shape, output: Shape) -> None:
        self._shape = None  # should anything fail, the next pass begins anew
        tile = (shape[2], shape[3])
        answered(f"take an input of shape {shape}", lambda: context.set_input_shape(self._session.given, shape), tile=tile)
        promised = tuple(context.get_tensor_shape(self._session.restored))
        if promised != output:
            raise BackendError(f"the engine makes {promised} of an input of {shape}, its spec promises {output}; export it again")
        # 0 bytes may be the need, or a failure that is only logged
        size = answered("state its scratch memory", context.update_device_memory_size_for_shapes, tile=tile, zero=False)
        self._provide_scratch(context, size, tile)
        self._shape = shape

    def _provide_scratch(self, context: Any, size: int, tile: tuple[int, int]) -> None:
        """Give `context` at least `size` bytes; what it has is kept where it suffices."""
        if size and (self._scratch is None or self._scratch.nbytes < size):
            self._wait()
            self._free_scratch()
            try:
                self._scratch = self._device.buffer(size)
            except DeviceMemoryError as exc:
                raise DeviceMemoryError(size, self._device.memory()[0], tile) from exc
        if self._scratch is not None:
            context.set_device_memory(self._scratch.pointer, self._scratch.nbytes)

    def _free_scratch(self) -> None:
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            scratch.close()
