"""A video that was just written, read again: what its container could not take over, which no muxer says."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from restore_sdk.extras import require
from restore_sdk.stream.video_codecs import Encoding
from restore_sdk.stream.video_facts import DECODING_TIMES_ALONE

_ROUNDED = 1.5e-3  # seconds between two times in whole milliseconds that should be equal, at most
_SAME_SHAPE = 0.01  # relative; containers round the shape of a pixel


def differences(path: Path, encoding: Encoding, shown: Sequence[int]) -> list[str]:
    """What the file at `path` says otherwise than `encoding` and the times of its first pictures, `shown`; in words."""
    av = require("av", "video")
    try:
        with av.open(str(path), metadata_errors="replace") as file:
            stream, unit, name = file.streams.video[0], encoding.time_base, file.format.name
            packets = islice((packet for packet in file.demux(stream) if packet.size), len(shown))
            found = [packet.dts if name in DECODING_TIMES_ALONE else packet.pts for packet in packets]
            times = sorted(at * stream.time_base for at in found if at is not None)
            late = [at - pts * unit for at, pts in zip(times, sorted(shown), strict=False)]
            return [*_moved(late, stream.time_base), *_shape(encoding, stream, name)]
    except av.FFmpegError as exc:
        return [f"it could not be read again ({exc.strerror}); check it with a player"]


def _moved(late: list[Fraction], unit: Fraction) -> list[str]:
    """late: seconds, by which each picture comes late."""
    if not late:
        return []
    apart, first, least = float(max(late) - min(late)), float(late[0]), max(float(unit), _ROUNDED)
    unsteady = f"its container moves pictures by up to {apart:.3f} s against one another"
    uneven = [unsteady] if apart > max(float(unit) / 2, _ROUNDED) else []
    if first < -least:
        return [f"its container begins with the first picture, which comes {-first:.3f} s too early"]
    moved = f"its container holds no times before zero, which coding needs: everything in it comes {first:.3f} s later"
    return [moved, *uneven] if first > least else uneven


def _shape(encoding: Encoding, stream: Any, container: str) -> list[str]:
    wanted, found = encoding.aspect or Fraction(1), stream.sample_aspect_ratio or Fraction(1)
    if abs(found / wanted - 1) < _SAME_SHAPE:
        return []
    shape = f"{wanted.numerator}:{wanted.denominator}"
    return [f"{encoding.codec} in {container} does not say that its pixels are {shape}: pass that to the player, or name libx264"]
