"""Batches through one device with their copies hidden behind inference: three streams over a ring of pinned slots.

While batch i is inferred, batch i+1 is copied in and batch i-1 out, so n batches take about n times the longest of the three
stages. A slot is filled anew only when the copy-out of its earlier batch has ended.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Protocol, runtime_checkable

import numpy as np

from restore_sdk.cuda.memory import Device, Resource
from restore_sdk.cuda.slots import Buffers, FloatNCHW, Network, Shape, Slot, bytes_of, view
from restore_sdk.errors import BackendError, DeviceMemoryError, OptionsError


@runtime_checkable
class HoldingNetwork(Network, Protocol):
    """A network that keeps device memory from one batch to the next."""

    def release_memory(self) -> None:
        """Give it back once what uses it is over; it is taken anew for the next batch. The pipeline has nothing queued, and holds
        no graph that refers to it. Raises nothing for work that failed."""
        ...


class Ticket:
    """One batch in flight, until its result is out of the slot. Any thread may finish it."""

    def __init__(self, slot: Slot, buffers: Buffers, shape: Shape, give_back: Callable[[Slot], None]) -> None:
        self._slot, self._buffers, self._shape, self._give_back = slot, buffers, shape, give_back
        self._lock = threading.Lock()
        self._restored: FloatNCHW | None = None
        self._failure: BackendError | None = None
        self.over = False

    def finish(self, *, keep: bool = True) -> None:
        """Wait for the batch, keep its result or its failure, and give the slot back; once."""
        with self._lock:
            if self.over:
                return
            try:
                self._slot.left.synchronize()
                if keep:
                    self._restored = view(self._buffers.pinned_restored, self._shape).copy()
            except BackendError as exc:
                self._failure = exc
            self.over = True
            self._give_back(self._slot)

    def result(self) -> FloatNCHW:
        """The restored batch, owned by the caller. Raises BackendError if a stage of it failed."""
        self.finish()
        restored, self._restored = self._restored, None
        if restored is None:
            raise self._failure or BackendError("the result of this batch was taken already; keep what result() gave")
        return restored


class Pipeline(Resource):
    """Runs `network` on `device` with `slots` batches in flight. Owns its streams, slots and buffers; network and device stay the
    caller's and must outlive it. Buffers grow with the largest batch seen and are kept until close().

    Where memory does not suffice for `slots` batches, fewer are in flight from then on: the other slots rest, without memory.
    """

    def __init__(self, device: Device, network: Network, *, slots: int = 3) -> None:
        if slots < 1:
            raise OptionsError("slots", slots, "1 or more")
        self._device, self._network = device, network
        with ExitStack() as undo:
            self._slots = [undo.enter_context(Slot(device, index)) for index in range(slots)]
            self._copying_in, self._inferring, self._copying_out = (undo.enter_context(device.stream()) for _ in range(3))
            self._owned = undo.pop_all()
        self._free = deque(self._slots)
        self._resting: list[Slot] = []
        self._flight: list[Ticket] = []  # in the order of submission
        self._submitting = threading.Lock()  # the three streams get whole batches, one after the other
        self._refusal: str | None = None
        self._closed = False

    def run(self, batches: Iterable[FloatNCHW]) -> Iterator[FloatNCHW]:
        """Restore (N, C, H, W) float32 batches, in order; each result is a new array owned by the caller.

        Takes up to `slots` batches before it gives the first result. Several threads may run() at once; one that stops taking
        results holds up nobody. If a stage fails, the results before that batch still come, then its error, once; later batches
        are waited for and dropped, and the pipeline can be used again. Raises OptionsError for anything else than such a batch,
        DeviceMemoryError for one that does not fit even alone (the pipeline then holds no buffers), BackendError, and whatever
        `batches` raises.
        """
        flight: deque[Ticket] = deque()
        refused: BackendError | None = None
        try:
            for batch in batches:
                try:
                    flight.append(self._submit(batch))
                except BackendError as exc:
                    refused = exc
                    break
                if len(flight) >= len(self._slots):
                    yield flight.popleft().result()
            while flight:
                yield flight.popleft().result()
            if refused is not None:
                raise refused
        finally:
            for ticket in flight:
                ticket.finish(keep=False)

    def report(self) -> dict[str, object]:
        """What it holds and did: slots and how many of them rest, bytes on the device and pinned, graph launches, and why there
        is no graph, if so."""
        held = [slot.buffers for slot in self._slots if slot.buffers is not None]
        nbytes = sum(buffers.given.nbytes + buffers.restored.nbytes for buffers in held)
        replays = sum(slot.replays for slot in self._slots)
        return {
            "slots": len(self._slots),
            "resting": len(self._resting),
            "device_bytes": nbytes,
            "pinned_bytes": nbytes,
            "graph_launches": replays,
            "graph_refused": self._refusal,
        }

    def release_memory(self) -> None:
        """Wait for what is in flight, and give back the memory of all slots and of the network: another needs it now. What comes
        next takes it anew."""
        with self._submitting:
            if not self._closed:
                self._give_up_memory()

    def close(self) -> None:
        """Wait for what is in flight and release everything. Results that are out of their slots can still be taken."""
        with self._submitting:
            if not self._closed:
                self._closed = True
                self._finish_all()
                self._owned.close()

    def _submit(self, batch: FloatNCHW) -> Ticket:
        shape = _shape_of(batch)
        restored_shape = self._network.output_shape(shape)
        with self._submitting:
            if self._closed:
                raise BackendError("this pipeline is closed; open a new one")
            ticket = self._place(batch, shape, restored_shape)
            self._flight = [*(other for other in self._flight if not other.over), ticket]
        return ticket

    def _place(self, batch: FloatNCHW, shape: Shape, restored_shape: Shape) -> Ticket:
        """Start the batch in a free slot. Without room it is tried again, alone; a slot without room beside others rests."""
        slot = self._take_slot()
        beside = any(other.buffers is not None for other in self._slots if other is not slot)
        try:
            return self._submit_to(slot, batch, shape, restored_shape)
        except DeviceMemoryError:  # all memory was given up
            if beside:
                self._free.remove(slot)
                self._resting.append(slot)
        try:
            return self._submit_to(self._take_slot(), batch, shape, restored_shape)
        except DeviceMemoryError:
            self._free.extend(self._resting)  # smaller batches come next
            self._resting = []
            raise

    def _submit_to(self, slot: Slot, batch: FloatNCHW, shape: Shape, restored_shape: Shape) -> Ticket:
        with ExitStack() as undo:
            undo.callback(self._free.append, slot)
            undo.callback(self._settle)  # first: what was queued of it is over before the slot is free
            buffers = self._start(slot, batch, shape, restored_shape)
            undo.pop_all()
        return Ticket(slot, buffers, restored_shape, self._free.append)

    def _take_slot(self) -> Slot:
        """A free slot; if there is none, the oldest batch in flight is finished, whosever it is."""
        while not self._free:
            self._flight[0].finish()
            del self._flight[0]
        return self._free.popleft()

    def _start(self, slot: Slot, batch: FloatNCHW, shape: Shape, restored_shape: Shape) -> Buffers:
        """Fill the slot and queue all three stages. Raises DeviceMemoryError with the tile; then nothing is in flight, and nobody
        holds memory."""
        try:
            buffers = slot.fit(shape, restored_shape)
            np.copyto(view(buffers.pinned_given, shape), batch)
            self._queue(slot, buffers, shape, restored_shape)
        except DeviceMemoryError as exc:
            free = self._device.memory()[0] if exc.free is None else exc.free
            self._give_up_memory()
            raise DeviceMemoryError(exc.required, free, (shape[2], shape[3])) from exc
        return buffers

    def _queue(self, slot: Slot, buffers: Buffers, shape: Shape, restored_shape: Shape) -> None:
        self._copying_in.copy_in(buffers.given, buffers.pinned_given, bytes_of(shape))
        self._copying_in.record(slot.arrived)
        self._inferring.wait(slot.arrived)
        self._refusal = slot.infer(self._network, buffers, shape, self._inferring) or self._refusal
        self._inferring.record(slot.inferred)
        self._copying_out.wait(slot.inferred)
        self._copying_out.copy_out(buffers.pinned_restored, buffers.restored, bytes_of(restored_shape))
        self._copying_out.record(slot.left)

    def _settle(self) -> None:
        """Wait until nothing is queued. What failed is told by the tickets."""
        for stream in (self._copying_in, self._inferring, self._copying_out):
            with suppress(BackendError):
                stream.synchronize()

    def _give_up_memory(self) -> None:
        """Close all buffers, and what the network holds: the batch that did not fit comes again, alone or in smaller ones."""
        self._settle()
        self._finish_all()
        for slot in self._slots:
            slot.release()
        if isinstance(self._network, HoldingNetwork):  # last: the slots' graphs refer to its memory
            self._network.release_memory()

    def _finish_all(self) -> None:
        for ticket in self._flight:
            ticket.finish()
        self._flight = []


def _shape_of(batch: FloatNCHW) -> Shape:
    """(N, C, H, W) of a batch. Raises OptionsError for anything else."""
    if not isinstance(batch, np.ndarray) or batch.ndim != 4 or batch.dtype != np.float32 or batch.size == 0:
        got = f"{batch.dtype} {batch.shape}" if isinstance(batch, np.ndarray) else type(batch).__name__
        raise OptionsError("batch", got, "a float32 array (N, C, H, W) of one or more pixels")
    N, C, H, W = batch.shape
    return N, C, H, W
