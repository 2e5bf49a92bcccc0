"""How a video is read and written, and the piece of it that is wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from restore_sdk.errors import OptionsError
from restore_sdk.options import DEFAULT_QUEUE
from restore_sdk.stream.video_facts import VideoFacts

LONGEST = 1_000_000_000  # seconds; FFmpeg counts in 64 bits, and no video comes near it


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoOptions:
    """Settings of restore_video.

    codec      FFmpeg's name of an encoder ("libx265", "h264_nvenc"); None: one for the source's codec and the container
    crf        constant quality on the encoder's own scale; None: visually lossless, or nearly
    decoder    FFmpeg's name of a decoder ("h264_cuvid") or of a device ("cuda"); None: its own choice
    start      seconds from the beginning of the source; what comes before is left out, and the target's times begin there
    end        seconds likewise
    resume     go on with the parts that an interrupted run with the same settings left beside the target
    overwrite  replace a target that exists; it is complete or untouched, never half
    workers    pictures in work at once
    queue      pictures that wait before and after
    """

    codec: str | None = None
    crf: int | None = None
    decoder: str | None = None
    start: float | None = None
    end: float | None = None
    resume: bool = False
    overwrite: bool = False
    workers: int = 1
    queue: int = DEFAULT_QUEUE

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and 0 <= value <= LONGEST):
                raise OptionsError(name, value, f"seconds from 0 to {LONGEST}")
        if self.end is not None and self.end <= (self.start or 0):
            raise OptionsError("end", self.end, f"more than the start, {self.start or 0} s")


@dataclass(frozen=True, slots=True)
class Cut:
    """The wanted piece: start <= pts < stop in units of the time base, begin to end in the container's seconds (None: no limit);
    all times come earlier by `shift` units."""

    start: int | None
    stop: int | None
    shift: int
    begin: Fraction | None
    end: Fraction | None

    @classmethod
    def of(cls, facts: VideoFacts, options: VideoOptions) -> Cut:
        """The piece that `options` name of the video `facts` describe."""
        begin, end = (None if at is None else facts.begin + Fraction(str(at)) for at in (options.start, options.end))
        start, stop = (None if at is None else math.ceil(at / facts.time_base) for at in (begin, end))
        return cls(start, stop, _earliest(facts) if begin is None else round(begin / facts.time_base), begin, end)

    def frames(self, facts: VideoFacts) -> int | None:
        """About how many pictures it has; None where the container does not say."""
        if facts.end is None:
            return None
        last = facts.end if self.end is None else min(self.end, facts.end)
        return max(1, round((last - (self.begin or facts.begin)) * facts.average))


def _earliest(facts: VideoFacts) -> int:
    """Where the times begin, units of the time base, if pictures lie before zero: players hide those. Else 0."""
    return min(facts.first, math.floor(facts.begin / facts.time_base)) if facts.first < 0 else 0
