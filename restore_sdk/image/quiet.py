"""Codecs that talk to the console are kept silent while they run; what they found comes out as typed errors instead."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_lock = threading.RLock()
_depth = 0
_level_before = 0


def _enter() -> None:
    global _depth, _level_before  # noqa: PLW0603 - OpenCV's log level is one per process, so its owner is the module
    with _lock:
        if _depth == 0:
            _level_before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        _depth += 1


def _leave() -> None:
    global _depth  # noqa: PLW0603
    with _lock:
        _depth -= 1
        if _depth == 0:
            cv2.utils.logging.setLogLevel(_level_before)


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV logs nothing inside. Threads may overlap: the first one in silences it, the last one out puts the level back."""
    _enter()
    try:
        yield
    finally:
        _leave()


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Pillow's warnings (corrupt EXIF, sizes) are dropped inside. One thread at a time, because warning filters are global."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
