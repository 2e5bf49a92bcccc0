"""One value that several threads use, that may be replaced under them, and that is closed when the last has let go of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from restore_sdk.errors import RestorerClosedError


class Closable(Protocol):
    """Something with an end."""

    def close(self) -> None:
        """Release everything."""
        ...


Value = TypeVar("Value", bound=Closable)


class Leased(Generic[Value]):
    """Holds `value`. Calls that use it finish on what they began with; nobody waits for them but the value that was replaced."""

    def __init__(self, value: Value, last: Callable[[], None] = lambda: None) -> None:
        """last: called once everything is closed."""
        self._lock = threading.Lock()
        self._value: Value | None = value
        self._last = last
        self._users: dict[int, int] = {}  # id(value) -> calls; the callers hold the value, so its id stays its own

    @contextmanager
    def use(self) -> Iterator[Value]:
        """The present value, kept open within the `with`. Raises RestorerClosedError after close()."""
        with self._lock:
            value = self._value
            if value is None:
                raise RestorerClosedError
            self._users[id(value)] = self._users.get(id(value), 0) + 1
        try:
            yield value
        finally:
            self._let_go(value)

    def replace(self, unless: Callable[[Value], bool], make: Callable[[Value], Value]) -> None:
        """Put `make(present)` in the place of the present value, unless `unless(present)`. To be called by one thread at a time.

        Should close() come first, the new value is closed and RestorerClosedError raised.
        """
        with self.use() as present:
            if unless(present):
                return
            made = make(present)
            with self._lock:
                closed = self._value is None
                if not closed:
                    self._value = made
            if closed:
                made.close()
                raise RestorerClosedError

    def close(self) -> None:
        """Close the value once nobody uses it; a second call does nothing."""
        with self._lock:
            value, self._value = self._value, None
            unused, alone = value is not None and id(value) not in self._users, not self._users
        if value is not None and unused:
            self._end(value, last=alone)

    def _let_go(self, value: Value) -> None:
        with self._lock:
            self._users[id(value)] -= 1
            unused = self._users[id(value)] == 0
            if unused:
                del self._users[id(value)]
            over, last = unused and value is not self._value, self._value is None and not self._users
        if over:
            self._end(value, last=last)

    def _end(self, value: Value, *, last: bool) -> None:
        try:
            value.close()
        finally:
            if last:
                self._last()
