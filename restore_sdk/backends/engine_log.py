"""What TensorRT says while it works: its calls answer None, False or -1, and the reason is only in its log."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeAlias

Severity: TypeAlias = Literal["INTERNAL_ERROR", "ERROR", "WARNING", "INFO"]

SEVERITIES: tuple[Severity, ...] = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO")  # VERBOSE is thousands of lines
MOST_LINES = 1000  # the last ones are kept
MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, and how grave TensorRT thinks it is."""

    severity: Severity
    text: str

    def __str__(self) -> str:
        return f"[{self.severity}] {self.text}"


class BuilderLog:
    """The lines of one build. TensorRT writes from several threads."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque(maxlen=MOST_LINES)
        self._lock = threading.Lock()

    def add(self, severity: Severity, text: str) -> None:
        """Keep a line."""
        with self._lock:
            self._lines.append(LogLine(severity, text.strip()))

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """Everything kept, oldest first."""
        with self._lock:
            return tuple(self._lines)

    @property
    def problems(self) -> tuple[str, ...]:
        """Errors and warnings, each once; the last lines of any kind where there are none."""
        lines = self.lines
        grave = dict.fromkeys(str(line) for line in lines if line.severity != "INFO")
        return tuple(grave)[-MOST_SHOWN:] or tuple(map(str, lines[-MOST_SHOWN:]))

    @property
    def failed(self) -> bool:
        """Whether TensorRT spoke of an error."""
        return any(line.severity in ("INTERNAL_ERROR", "ERROR") for line in self.lines)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Errors and warnings, each once; of a build that succeeded, what is worth knowing."""
        return tuple(dict.fromkeys(str(line) for line in self.lines if line.severity != "INFO"))


class LogRouter:
    """Leads each line to the log of the work it belongs to.

    TensorRT has one logger for a process: while a builder or runtime lives, the logger given to a second one is ignored.
    """

    def __init__(self) -> None:
        self._logs: dict[int, BuilderLog] = {}  # thread -> log
        self._lock = threading.Lock()

    @contextmanager
    def writing_to(self, log: BuilderLog) -> Iterator[None]:
        """What TensorRT says on this thread goes to `log`, and what it says on threads of its own to all logs in use."""
        thread = threading.get_ident()
        with self._lock:
            outer = self._logs.get(thread)
            self._logs[thread] = log
        try:
            yield
        finally:
            with self._lock:
                del self._logs[thread]
                if outer is not None:
                    self._logs[thread] = outer

    def add(self, severity: Severity, text: str) -> None:
        """Lead a line to its log."""
        with self._lock:
            own = self._logs.get(threading.get_ident())
            logs = list(self._logs.values()) if own is None else [own]
        for log in logs:
            log.add(severity, text)


ROUTER = LogRouter()
_LOGGERS: dict[str, Any] = {}  # for good: TensorRT holds no reference to the one it writes to
_MAKING = threading.Lock()


def vendor_logger(api: ModuleType) -> Any:
    """The process's ILogger of `api`, which writes to ROUTER."""
    with _MAKING:
        if api.__name__ not in _LOGGERS:
            _LOGGERS[api.__name__] = _new_logger(api)
        return _LOGGERS[api.__name__]


def _new_logger(api: ModuleType) -> Any:
    names: dict[int, Severity] = {int(getattr(api.ILogger, name)): name for name in SEVERITIES}
    base: Any = api.ILogger  # no TensorRT wheel carries types

    class _Logger(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            name = names.get(int(severity))
            if name is not None:
                ROUTER.add(name, msg)

    return _Logger()
