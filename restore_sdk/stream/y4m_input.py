"""y4m that breaks off: FFmpeg ends it without a word, so what was read is compared with what the pictures took."""

from __future__ import annotations

import sys
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

from restore_sdk.stream.errors import VideoReadError

Y4M = "yuv4mpegpipe"


class CountedInput:
    """Standard input, and how many bytes came out of it."""

    def __init__(self) -> None:
        self.taken = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        content = sys.stdin.buffer.read(size)
        self.taken += len(content)
        return content


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
