"""What must hold from frame to frame of a video: times that increase, one size, and an end where the container promises it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from restore_sdk.stream.errors import VideoReadError
from restore_sdk.stream.video_facts import VideoFacts

_LEAST_GAP = Fraction(1, 2)  # seconds that a file may end early before it counts as broken off


class Watch:
    """Looks at every decoded frame for what must not change. Raises VideoReadError."""

    def __init__(self, facts: VideoFacts) -> None:
        self._facts = facts
        self._last: int | None = None
        self._ends_at, self._longest = facts.begin, Fraction(0)

    def check(self, frame: Any) -> tuple[int, int]:
        """Time and length of `frame`, counted on where it has none."""
        facts = self._facts
        step = max(1, round(1 / (facts.rate * facts.time_base)))
        pts = frame.pts if frame.pts is not None else 0 if self._last is None else self._last + step
        seconds = float(pts * facts.time_base)
        if self._last is not None and pts <= self._last:
            remedy = "write the file anew first: ffmpeg -fflags +genpts -i IN -c copy OUT"
            raise VideoReadError(facts.path, f"its times do not increase at {seconds:.3f} s; {remedy}")
        turned = facts.rotation % 180 == 90
        size = (frame.height, frame.width) if turned else (frame.width, frame.height)
        if size != (facts.width, facts.height):
            change = f"changes from {facts.width} x {facts.height} to {size[0]} x {size[1]} pixels at {seconds:.3f} s"
            raise VideoReadError(facts.path, f"its size {change}; restore the parts one by one, with start and end")
        duration = frame.duration or step
        self._longest = max(self._longest, duration * facts.time_base)
        self._last, self._ends_at = pts, (pts + duration) * facts.time_base
        return pts, duration

    def check_end(self, stop: int | None) -> float:
        """Raise VideoReadError where the stream ends well before `stop` and what the container says; else how long before, as far
        as it is worth saying, seconds."""
        end = self._facts.end
        if end is None:
            return 0.0
        end = end if stop is None else min(end, stop * self._facts.time_base)
        missing = end - self._ends_at
        if missing > max(_LEAST_GAP, 3 * self._longest):
            at = float(self._ends_at)
            reason = f"it breaks off after {at:.3f} s of {float(end):.3f} s"
            raise VideoReadError(self._facts.path, f"{reason}; pass an end of {at:.3f} s to restore what is there")
        return float(missing) if missing > 3 * self._longest else 0.0
