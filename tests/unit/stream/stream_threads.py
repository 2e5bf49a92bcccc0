"""What the tests of streams watch: their threads, and a source that they control."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

PATIENCE = 20.0  # seconds until a thread that does not do its part fails the test


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "restore-stream"]


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread will do."""
    limit = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < limit, "the other thread did not do its part"
        time.sleep(0.001)


class Camera:
    """Gives frame after frame when it is told to, and says how many were taken and whether it was closed."""

    def __init__(self, count: int) -> None:
        self.count, self.taken, self.closed = count, 0, False
        self.allowed = threading.Semaphore(0)

    def frames(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                assert self.allowed.acquire(timeout=PATIENCE)
                self.taken += 1
                yield number
        finally:
            self.closed = True

    def give(self, count: int = 1) -> None:
        self.allowed.release(count)
