"""NaN and infinity in results that stay on the GPU, found without waiting for it.

Behind each batch two small kernels run on the caller's stream, over what was given and over what was made of it. They write the
batch's number into page-locked host memory: the first as an excuse (a batch that is not finite itself is nobody's fault), the
second, unless it is excused, as a mark. The host looks at the marks when it comes by next. Where all is finite they only read.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from restore_sdk.backends.engine_profile import Shape
from restore_sdk.cuda.launching import LEGACY, Launcher
from restore_sdk.cuda.memory import Device, Resource

EXCUSE, MARK = 0, 1  # words of one place
WORD = 8  # bytes
KERNEL = "find_not_finite"
STEPS = 8  # values that one thread looks at, at least


class Ticket(NamedTuple):
    """One batch that is looked at."""

    place: int
    number: int


class OverflowMarks(Resource):
    """Marks for batches of `places` execution contexts, of which each has one after the other. For one thread at a time."""

    def __init__(self, device: Device, places: int) -> None:
        self._memory = device.pinned(2 * WORD * places)  # with unified addressing, kernels reach it at the same address
        self._words = self._memory.array.view(np.int64).reshape(places, 2)
        self._words[...] = 0
        self._told = np.zeros(places, np.int64)
        self._number = 0

    def look(self, launcher: Launcher, place: int, given: tuple[int, Shape], restored: tuple[int, Shape], stream: int) -> Ticket:
        """Queue the look at one batch behind it. given, restored: device pointer and shape. Raises BackendError."""
        self._number += 1
        excuse, mark = (self._memory.pointer + WORD * (2 * place + word) for word in (EXCUSE, MARK))
        number = np.int64(self._number)
        for (pointer, shape), condition, found in ((given, 0, excuse), (restored, excuse, mark)):
            arguments = (pointer, np.int64(prod(shape)), condition, found, number)
            launcher.launch(KERNEL, -(-prod(shape) // STEPS), arguments, stream or LEGACY)
        return Ticket(place, self._number)

    def overflowed(self, ticket: Ticket) -> bool:
        """Whether the batch of `ticket`, or a later one in its place, did, which is no news then. Its stream must have been
        waited for."""
        mark = self._words[ticket.place, MARK]
        if mark < ticket.number:
            return False
        self._told[ticket.place] = max(mark, self._told[ticket.place])
        return True

    def news(self) -> bool:
        """Whether a batch is known to have overflowed since this was asked last."""
        marks = self._words[:, MARK].copy()
        new = bool((marks > self._told).any())
        self._told = np.maximum(marks, self._told)
        return new

    def close(self) -> None:
        """Nothing that was queued may still run."""
        self._words = np.zeros_like(self._words)
        self._memory.close()
