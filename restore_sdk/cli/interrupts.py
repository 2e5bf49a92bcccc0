"""Ctrl-C at the edges of a program. While a module is being imported it waits: broken off in there, some modules of compiled code
answer with an error of their own. Where compiled code drops the KeyboardInterrupt, it is raised again."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from restore_sdk.cli.exit_codes import ExitCode

_AGAIN = 0.05  # seconds
_IMPORTER = "<frozen importlib._bootstrap>"


@contextmanager
def program_edge() -> Iterator[None]:
    """Around all that a program does, its imports too: a Ctrl-C that no command has reported is exit code 130."""
    keep_interrupts()
    try:
        yield
    except KeyboardInterrupt:  # before or after a command, whose own edge reports it
        sys.exit(ExitCode.INTERRUPTED)


def keep_interrupts() -> None:
    """Handle SIGINT so from now on. For the main thread of a program; whoever ignores the signal goes on ignoring it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _not_losing_interrupts(sys.unraisablehook)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _imports(frame):
        _interrupt_soon()
    else:
        raise KeyboardInterrupt


def _interrupt_soon() -> None:
    again = threading.Timer(_AGAIN, _send)
    again.daemon = True
    again.start()


def _send() -> None:
    """To the main thread, so that a call that it waits in is broken off. Windows has no such way: there the call ends first."""
    main = threading.main_thread().ident
    if sys.platform == "win32" or main is None:
        signal.raise_signal(signal.SIGINT)
    else:
        signal.pthread_kill(main, signal.SIGINT)


def _not_losing_interrupts(usual: Callable[[Any], object]) -> Callable[[Any], None]:
    """A hook for errors with no caller to go to, as those in a __del__ or where compiled code calls Python."""

    def hook(lost: Any) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            _interrupt_soon()
        else:
            usual(lost)

    return hook


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTER:
            return True
        frame = frame.f_back
    return False
