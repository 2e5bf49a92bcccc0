"""Ctrl-C while a module is still being imported waits for it: broken off in there, some modules of compiled code answer with an
error of their own, and the programs' edges are not there yet to report it."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_AGAIN = 0.05  # seconds
_IMPORTER = "<frozen importlib._bootstrap>"


def wait_for_imports() -> None:
    """Handle SIGINT so from now on. For the main thread of a program; whoever ignores the signal goes on ignoring it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _imports(frame):
        raise KeyboardInterrupt
    again = threading.Timer(_AGAIN, signal.raise_signal, (number,))
    again.daemon = True
    again.start()


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTER:
            return True
        frame = frame.f_back
    return False
