"""What runs on the numpy device, and the record of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One operation that ran: "copy_in" or "copy_out" with the device buffer's address, or whatever was given to `queue`."""

    operation: str
    what: int
    stream: int
    start: int
    end: int
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Step:
    """Work for a stream: what it is called, and what it does."""

    operation: str
    what: int
    work: Callable[[], None]
