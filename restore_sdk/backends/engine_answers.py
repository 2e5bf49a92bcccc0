"""What TensorRT answers at run time: None, False and -1 mean no, and the reason is in its log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from restore_sdk.backends.engine_log import ROUTER, BuilderLog
from restore_sdk.backends.vendor_errors import translated
from restore_sdk.cuda.vendor_words import OUT_OF_MEMORY
from restore_sdk.errors import BackendError, DeviceMemoryError

Answer = TypeVar("Answer")
Tile = tuple[int, int]

RAISED = (RuntimeError, TypeError, MemoryError)  # none is expected; TypeError: a constructor that answers "no"


def answered(
    action: str, ask: Callable[[], Answer | None], *, tile: Tile | None = None, zero: bool = True, log: BuilderLog | None = None
) -> Answer:
    """What `ask()`, a call of TensorRT, answers, if that is not a no.

    action  what was asked, as in "TensorRT does not ACTION".
    tile    (height, width) of the batch in pixels, where there is one.
    zero    whether 0 is an answer even if an error was logged meanwhile.
    log     gets what TensorRT says, for one who wants to read it though the answer is yes.

    Raises BackendError with TensorRT's own lines, DeviceMemoryError if they speak of that.
    """
    log = BuilderLog() if log is None else log
    try:
        with ROUTER.writing_to(log):
            answer = ask()
    except RAISED as exc:
        raise translated(f"TensorRT does not {action}", exc, tile) from exc
    if answer is None or answer is False or answer == -1 or (not zero and answer == 0 and log.failed):
        raise _refusal(action, log, tile)
    return answer


def _refusal(action: str, log: BuilderLog, tile: Tile | None) -> BackendError:
    if any(OUT_OF_MEMORY.search(line) for line in log.problems):
        return DeviceMemoryError(None, None, tile)
    return BackendError(f"TensorRT does not {action}; it says:", log.problems or ("(nothing)",))
