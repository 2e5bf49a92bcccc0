"""y4m that breaks off: FFmpeg ends it without a word, so what was read is compared with what the pictures took."""

from __future__ import annotations

import io
import select
import sys
import threading
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, BinaryIO, cast

from restore_sdk.stream.errors import VideoReadError

Y4M = "yuv4mpegpipe"
SECONDS_BETWEEN_LOOKS = 0.2  # at whether the input was stopped


class CountedInput:
    """Standard input, how many bytes came out of it, and a way out where none come.

    FFmpeg calls read() and swallows what it raises, so Ctrl-C inside is noted as `interrupted`, and the input ends.
    """

    def __init__(self) -> None:
        self.taken, self.interrupted = 0, False
        self._stopped = threading.Event()

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end, and after stop()."""
        try:
            content = self._read(size)
        except KeyboardInterrupt:
            self.interrupted, content = True, b""
            self.stop()
        self.taken += len(content)
        return content

    def stop(self) -> None:
        """End the input, also for a thread that waits for it."""
        self._stopped.set()

    def _read(self, size: int) -> bytes:
        while not self._stopped.is_set():
            if _is_ready(sys.stdin.buffer):
                return cast(io.BufferedReader, sys.stdin.buffer).read1(size)
        return b""


def _is_ready(stream: BinaryIO) -> bool:
    """Whether a read would not wait, after a moment; yes where the system cannot say."""
    try:
        return bool(select.select([stream.fileno()], [], [], SECONDS_BETWEEN_LOOKS)[0])
    except (OSError, ValueError, AttributeError):  # no file, or a pipe of Windows
        return True


class WholePictures:
    """Sees every packet of a stream and, if that is y4m, whether bytes are left at its end that are no whole picture."""

    def __init__(self, path: Path | str, container: Any, counted: CountedInput | None) -> None:
        self._path, self._container, self._counted = path, container, counted
        self._is_y4m = container.format.name == Y4M
        self._end: int | None = None  # of the last whole picture, bytes from the beginning
        self._next_pts, self._unit = 0, Fraction(1)

    def saw(self, packet: Any) -> None:
        """The next packet, whole as FFmpeg gives it."""
        if self._is_y4m and packet.size and packet.pos is not None:
            self._end, self._next_pts, self._unit = packet.pos + packet.size, packet.pts + 1, packet.time_base

    def check(self, stop: int | None) -> None:
        """Raise VideoReadError if the last picture before `stop`, in units of the time base, is not all there."""
        if self._end is None or (stop is not None and stop <= self._next_pts):
            return
        total = self._container.size if self._counted is None else self._counted.taken
        if total <= self._end:
            return
        at = f"{floor(1000 * self._next_pts * self._unit) / 1000:.3f}"  # rounded up, it would ask for what is not there
        whole = f"it breaks off in the middle of a picture after {at} s"
        raise VideoReadError(self._path, f"{whole}; pass an end of {at} s to restore what is there")
