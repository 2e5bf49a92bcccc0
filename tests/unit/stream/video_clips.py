"""Small videos made by the tests, and what is to be read from a video to compare two."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

with contextlib.suppress(ImportError):
    import av

WIDTH, HEIGHT = 64, 48


@dataclass
class Recipe:
    """A video to be made. Times of pictures in units of time_base."""

    codec: str = "libx264"
    format: str = "yuv420p"
    width: int = WIDTH
    height: int = HEIGHT
    times: Sequence[int] = tuple(range(0, 12 * 512, 512))
    time_base: Fraction = Fraction(1, 12800)
    rate: Fraction = Fraction(25)
    aspect: Fraction = Fraction(1)  # of a pixel
    colour: tuple[int, int, int, int] = (1, 1, 1, 1)  # range, matrix, transfer, primaries
    audio: str | None = None
    audio_from: int = 0  # samples of silence before the first packet
    subtitles: str | None = None
    chapters: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    picture_tags: dict[str, str] = field(default_factory=dict)  # of the video stream
    options: dict[str, str] = field(default_factory=dict)
    still: bool = False
    container_options: dict[str, str] = field(default_factory=dict)


def pixels(number: int, height: int, width: int) -> np.ndarray:
    """A smooth picture that moves with `number`: (H, W, 3) float32 in [0.1, 0.9]."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.sin((rows + columns * phase + 3 * number) / 9) for phase in (0.5, 1.0, 1.5)]
    return np.ascontiguousarray(0.5 + 0.4 * np.stack(waves, -1), np.float32)


def picture(number: int, recipe: Recipe) -> Any:
    frame = av.VideoFrame.from_ndarray(pixels(0 if recipe.still else number, recipe.height, recipe.width), format="gbrpf32le")
    frame.color_range = 2
    colour_range, matrix, transfer, primaries = recipe.colour
    matrix_used = {0: 1, 6: 5}.get(matrix, matrix)
    frame = frame.reformat(
        format=recipe.format, dst_colorspace=matrix_used, dst_color_range=colour_range or 1, interpolation="BICUBIC"
    )
    frame.color_range, frame.colorspace, frame.color_trc, frame.color_primaries = colour_range, matrix, transfer, primaries
    frame.time_base, frame.pts = recipe.time_base, recipe.times[number]
    following = recipe.times[number + 1 : number + 2] or [recipe.times[number] + recipe.times[-1] - recipe.times[-2]]
    frame.duration = following[0] - recipe.times[number]
    return frame


def make(path: Path, recipe: Recipe | None = None) -> Path:
    """Write the video of `recipe`."""
    recipe = recipe or Recipe()
    with av.open(str(path), "w", container_options=recipe.container_options) as output:
        output.metadata.update(recipe.tags)
        if recipe.chapters:
            tick = Fraction(1, 1000)
            named = [(0, 200, "first"), (200, 480, "second")]
            output.set_chapters(
                [
                    {"id": index, "start": first, "end": last, "time_base": tick, "metadata": {"title": title}}
                    for index, (first, last, title) in enumerate(named)
                ]
            )
        stream = output.add_stream(recipe.codec, rate=recipe.rate, options={"g": "6", **recipe.options})
        stream.metadata.update(recipe.picture_tags)
        stream.width, stream.height, stream.pix_fmt = recipe.width, recipe.height, recipe.format
        stream.codec_context.time_base = stream.time_base = recipe.time_base
        context = stream.codec_context
        context.sample_aspect_ratio = recipe.aspect
        context.color_range, context.colorspace, context.color_trc, context.color_primaries = recipe.colour
        stream.codec_context.flags |= av.codec.context.Flags.frame_duration
        sound = output.add_stream(recipe.audio, rate=48000, layout="stereo") if recipe.audio else None
        words = output.add_mux_stream(recipe.subtitles) if recipe.subtitles else None
        if sound is not None:
            sound.metadata["language"] = "deu"
        if words is not None:
            words.metadata["language"] = "fra"
        packets = [packet for number in range(len(recipe.times)) for packet in stream.encode(picture(number, recipe))]
        packets += stream.encode(None)
        if sound is not None:
            packets += _sound(sound, recipe)
        output.start_encoding()
        packets += [] if words is None else _words(words)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return path


def _sound(stream: Any, recipe: Recipe) -> list[Any]:
    seconds = recipe.times[-1] * recipe.time_base
    packets = []
    size = 1024
    for index in range(int(seconds * 48000) // size):
        wave = np.sin(np.arange(index * size, (index + 1) * size) / 20).astype(np.float32) * 0.3
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, recipe.audio_from + index * size, Fraction(1, 48000)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _words(stream: Any) -> list[Any]:
    packets = []
    for at, text in ((40, b"one"), (250, b"two")):
        packet = av.Packet(text)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = at
        packet.duration = 100
        packets.append(packet)
    return packets


@dataclass
class Contents:
    """What a video holds."""

    times: list[Fraction]  # of the pictures, seconds
    copied: dict[str, list[tuple[Fraction, str]]]  # kind of stream -> (time, hash) of its packets
    format: str
    size: tuple[int, int]
    colour: tuple[int, int, int, int]
    codec: str
    chapters: list[tuple[Fraction, Fraction, str]]
    tags: dict[str, str]
    languages: dict[str, str | None]
    keyframes: list[Fraction]
    packets: str  # hash of the pictures' packets and times
    last_duration: Fraction
    aspect: Fraction | None


def contents(path: Path) -> Contents:
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
        stream = file.streams.video[0]
        context = stream.codec_context
        colour = (context.color_range, context.colorspace, context.color_trc, context.color_primaries)
        chapters = [
            (row["start"] * row["time_base"], row["end"] * row["time_base"], row["metadata"]["title"]) for row in file.chapters()
        ]
        found = Contents(
            times=[frame.pts * frame.time_base for frame in frames],
            copied={},
            format=context.pix_fmt,
            size=(frames[0].width, frames[0].height),
            colour=colour,
            codec=context.codec.canonical_name,
            chapters=chapters,
            tags=dict(file.metadata),
            languages={other.type: other.language for other in file.streams},
            keyframes=[],
            packets="",
            aspect=stream.sample_aspect_ratio,
            last_duration=frames[-1].duration * frames[-1].time_base,
        )
    whole = hashlib.sha256()
    with av.open(str(path)) as file:
        for packet in file.demux():
            if not packet.size:
                continue
            at = packet.pts * packet.time_base
            if packet.stream.type == "video":
                whole.update(f"{packet.pts}".encode() + bytes(packet))
                found.keyframes += [at] if packet.is_keyframe else []
            else:
                found.copied.setdefault(packet.stream.type, []).append((at, hashlib.sha256(bytes(packet)).hexdigest()))
    found.packets = whole.hexdigest()
    return found


def read_pixels(path: Path, count: int | None = None) -> np.ndarray:
    """All pictures, or the first `count`, as (N, H, W, 3) float32, as the SDK reads them."""
    from restore_sdk.stream.video_source import VideoSource

    with VideoSource(path) as source:
        return np.stack([picture.pixels for picture in islice(source.pictures(), count)])


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mean absolute difference after a blur that hides what coding adds."""
    blurred = [np.stack([cv2.GaussianBlur(image, (0, 0), 2) for image in images]) for images in (ours, theirs)]
    return float(np.abs(blurred[0] - blurred[1]).mean())
