"""What a video stream is: read from its container and its first decoded frame."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from restore_sdk.stream.errors import VideoReadError

DEFAULT_RATE = Fraction(25)  # frames/s, where a source states none; the times are kept either way
DECODING_TIMES_ALONE = ("avi", "asf")  # containers that say when a packet is decoded, not when its picture is shown
_ALPHA = "ALPHA_MODE"  # Matroska's tag of a stream whose alpha lies beside its packets, where no decoder here sees it
_STALE = ("BPS", "DURATION", "NUMBER_OF_", "_STATISTICS_", "ENCODER", _ALPHA)  # tags that describe the old packets


@dataclass(frozen=True, slots=True)
class Colour:
    """The four tags in the numbers of ITU-T H.273, as FFmpeg has them; 2 (of the range: 0) says nothing."""

    range: int
    matrix: int
    transfer: int
    primaries: int


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """One video stream. Times in seconds from the container's own zero."""

    path: Path | str
    codec: str  # "h264", "hevc", ...
    width: int  # upright, pixels
    height: int
    format: str  # FFmpeg's name of the pixel format
    bits: int  # of one component
    rate: Fraction  # frames/s, as near as FFmpeg can guess
    average: Fraction  # frames/s over all of it, which differs where the rate varies
    time_base: Fraction
    begin: Fraction  # where the container's times begin
    first: int  # time of the first picture, units of the time base
    end: Fraction | None  # of the video, as the container promises
    mirrored: bool  # the frames are flipped from left to right before they are turned
    rotation: int  # degrees, counter-clockwise, that the frames are turned to stand upright: 0, 90, 180, 270
    aspect: Fraction | None  # of a pixel, upright
    colour: Colour
    metadata: dict[str, str]
    disposition: int
    notices: tuple[str, ...]


def read_facts(path: Path | str, container: Any, stream: Any, frame: Any) -> VideoFacts:
    """Facts of `stream`, whose first decoded frame is `frame`. Raises VideoReadError for a format that is no picture."""
    pixel_format = frame.sw_format or frame.format
    components = pixel_format.components
    if not components:
        raise VideoReadError(path, f"its frames are {pixel_format.name}, which is no picture format; convert it first")
    mirrored, rotation, placed = _placed(frame)
    notices = [*_left_out(stream, frame), *placed, *_lost_side_data(frame)]
    turned = rotation % 180 == 90
    width, height = (frame.height, frame.width) if turned else (frame.width, frame.height)
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    rate = stream.guessed_rate or stream.average_rate or DEFAULT_RATE
    return VideoFacts(
        path=path,
        codec=stream.codec_context.codec.canonical_name,
        width=width,
        height=height,
        format=pixel_format.name,
        bits=max(part.bits for part in components),
        rate=rate,
        average=stream.average_rate or rate,
        time_base=stream.time_base,
        begin=_begin(container),
        first=frame.pts or 0,
        end=_end(stream, container),
        mirrored=mirrored,
        rotation=rotation,
        aspect=1 / aspect if aspect and turned else aspect or None,
        colour=Colour(_range(frame), frame.colorspace, frame.color_trc, frame.color_primaries),
        metadata={key: value for key, value in stream.metadata.items() if not key.upper().startswith(_STALE)},
        disposition=int(stream.disposition),
        notices=tuple(notices),
    )


def _left_out(stream: Any, frame: Any) -> list[str]:
    pixel_format = frame.sw_format or frame.format
    beside = any(key.upper() == _ALPHA and value == "1" for key, value in stream.metadata.items())
    has_alpha = beside or any(part.is_alpha for part in pixel_format.components)
    interlaced = ["it is interlaced: its frames are restored as they are, and the result is progressive"]
    return [*(["its alpha channel is ignored"] if has_alpha else []), *(interlaced if frame.interlaced_frame else [])]


def _placed(frame: Any) -> tuple[bool, int, list[str]]:
    """How the frames come to stand upright, mirrored and turned, and what to say of it. FFmpeg's angle leaves mirrors out."""
    matrix = next((bytes(side) for side in frame.side_data if side.type.name == "DISPLAYMATRIX"), None)
    right, down, across, below = (1, 0, 0, 1) if matrix is None else struct.unpack("=2i4x2i", matrix[:20])
    mirrored = right * below < down * across
    angle = frame.rotation + 180 * mirrored
    quarters = round(angle / 90)
    if abs(angle - 90 * quarters) > 1:
        return False, 0, [f"a tag turns it by {angle % 360:g} degrees: its pixels stay as they lie, and the tag is left out"]
    rotation = 90 * quarters % 360
    ways = [*(["mirrored"] if mirrored else []), *([f"turned by {rotation} degrees"] if rotation else [])]
    verbs = " and ".join(way.split()[0] for way in ways)
    return mirrored, rotation, [f"it is {' and '.join(ways)}, a tag: its pixels are {verbs} instead"] if ways else []


def _range(frame: Any) -> int:
    return 2 if frame.format.name.startswith("yuvj") else int(frame.color_range)


def _lost_side_data(frame: Any) -> list[str]:
    kinds = {side.type.name for side in frame.side_data}
    static = kinds & {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}
    dynamic = kinds & {"DOVI_METADATA", "DYNAMIC_HDR_PLUS", "DOVI_RPU_BUFFER"}
    lost = [*(["the mastering display"] if static else []), *(["dynamic HDR data"] if dynamic else [])]
    lost += ["closed captions inside the pictures"] if "A53_CC" in kinds else []
    return [f"{' and '.join(lost)} cannot be written; the colour tags are kept"] if lost else []


def _begin(container: Any) -> Fraction:
    return Fraction(container.start_time or 0, 1_000_000)


def _end(stream: Any, container: Any) -> Fraction | None:
    """When the last frame should end; None where the container says nothing about this stream."""
    if stream.duration:
        start = stream.start_time if stream.start_time is not None else 0
        return Fraction((start + stream.duration) * stream.time_base)
    tagged: str | None = stream.metadata.get("DURATION")  # Matroska: hours:minutes:seconds
    if tagged is None:
        return Fraction(container.duration, 1_000_000) + _begin(container) if container.duration else None
    hours, minutes, seconds = tagged.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
