"""Restored pictures out: into parts of encoded packets and from there into one file, or as y4m into a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from restore_sdk.extras import require
from restore_sdk.stream.errors import ContainerError, VideoWriteError, write_error
from restore_sdk.stream.video_codecs import Encoding, configure, encoders_for, open_encoder
from restore_sdk.stream.video_companions import Companions
from restore_sdk.stream.video_facts import DECODING_TIMES_ALONE, VideoFacts
from restore_sdk.stream.video_parts import PART_FRAMES, EncodedPacket, Part, PartFolder, decoding_times, read_packets
from restore_sdk.stream.video_pixels import FrameWriter
from restore_sdk.stream.video_result import differences
from restore_sdk.stream.y4m_input import Y4M

Y4M_CODEC = "wrapped_avframe"
_MP4_FAMILY = ("mp4", "mov", "ipod", "3gp", "3g2", "f4v")
# What one file holds, each picture with its time. Playlists are several files; streams of a codec count or repeat pictures
CONTAINERS = (*_MP4_FAMILY, *DECODING_TIMES_ALONE, "matroska", "webm", "flv", "mpegts", "nut", "ivf", "gif")
_THOSE_THAT_DO = "end its name in .mp4, .mkv, .mov or .webm"


class Sink(Protocol):
    """Where restored pictures go."""

    def add(self, pixels: NDArray[np.float32], pts: int, duration: int) -> None:
        """The next picture: (H, W, 3) float32; times in units of the source's time base."""
        ...

    def close(self) -> None:
        """No more pictures come."""
        ...


class PartWriter:
    """Encodes pictures into the parts of a folder. Raises VideoWriteError, and what opening the encoder raises."""

    def __init__(self, folder: PartFolder, encoding: Encoding, frames: FrameWriter, done: list[Part]) -> None:
        self.parts = list(done)
        self._folder, self._encoding, self._frames = folder, encoding, frames
        self._failures = require("av", "video").FFmpegError
        self._encoder: Any = None
        self._durations: dict[int, int] = {}
        self._packets: list[EncodedPacket] = []

    def add(self, pixels: NDArray[np.float32], pts: int, duration: int) -> None:
        if self._encoder is None:
            self._encoder = open_encoder(self._encoding)
        self._durations[pts] = duration
        self._encode(self._frames.write(pixels, pts, duration))
        if len(self._durations) == self._folder.part_frames:
            self._end_part()

    def close(self) -> None:
        if self._durations:
            self._end_part()

    def _encode(self, frame: Any) -> None:
        try:
            packets = self._encoder.encode(frame)
        except self._failures as exc:
            raise VideoWriteError(
                self._folder.folder, f"{self._encoding.codec} failed ({exc.strerror}); name another codec"
            ) from exc
        for packet in packets:
            duration = self._durations.get(packet.pts, packet.duration or 0)
            self._packets.append(EncodedPacket(packet.pts, duration, packet.is_keyframe, bytes(packet)))

    def _end_part(self) -> None:
        self._encode(None)
        if sorted(packet.pts for packet in self._packets) != sorted(self._durations):
            reason = f"{self._encoding.codec} did not give one packet for each frame; name another codec"
            raise VideoWriteError(self._folder.folder, reason)
        extradata = bytes(self._encoder.extradata or b"")
        self.parts.append(self._folder.write(len(self.parts), self._packets, extradata))
        self._encoder, self._durations, self._packets = None, {}, []


class PipeWriter:
    """y4m on standard output, each frame as soon as it is there. Raises BrokenPipeError, VideoWriteError.

    step  units of the source's time base from picture to picture, on average
    """

    def __init__(self, encoding: Encoding, frames: FrameWriter, step: Fraction) -> None:
        self._av = require("av", "video")
        self._output = self._av.open(_Y4mPipe(encoding.aspect), "w", format=Y4M, options={"strict": "-1"})
        self._stream = self._output.add_stream(Y4M_CODEC, rate=encoding.rate)
        configure(self._stream.codec_context, encoding)
        self._frames, self._step = frames, step
        self._gaps: set[int] = set()
        self._last: int | None = None
        self._count = 0

    @property
    def is_regular(self) -> bool:
        """Whether the pictures came at even times, as far as the time base can say it."""
        return all(abs(gap - self._step) <= 1 for gap in self._gaps)

    def add(self, pixels: NDArray[np.float32], pts: int, duration: int) -> None:
        if self._last is not None:
            self._gaps.add(pts - self._last)
        self._last = pts
        self._mux(self._frames.write(pixels, self._count, 1))
        self._count += 1

    def close(self) -> None:
        self._mux(None)
        self._output.close()
        sys.stdout.buffer.flush()

    def _mux(self, frame: Any) -> None:
        try:
            self._output.mux(self._stream.encode(frame))
        except BrokenPipeError:
            raise
        except self._av.FFmpegError as exc:
            raise write_error("standard output", exc) from exc


class _Y4mPipe:
    """Standard output; the muxer does not know the shape of the pixels, so that goes into the header here."""

    def __init__(self, aspect: Fraction | None) -> None:
        self._aspect = aspect

    def write(self, content: bytes) -> int:
        if self._aspect is not None:
            header = f" A{self._aspect.numerator}:{self._aspect.denominator} ".encode()
            sys.stdout.buffer.write(bytes(content).replace(b" A0:0 ", header, 1))
            self._aspect = None
        else:
            sys.stdout.buffer.write(content)
        return len(content)


class Container:
    """The file that a video will be, under a temporary name. Nothing is on disk before write(). `target`: what errors name."""

    def __init__(self, path: Path, companions: Companions | None, target: Path) -> None:
        self._av = require("av", "video")
        self._path, self._companions, self._target = path, companions, target
        try:
            self._output = self._av.open(str(path), "w", options=self._options())
        except (ValueError, self._av.FFmpegError) as exc:
            suffix = f"no container is known for the suffix {path.suffix!r}" if path.suffix else "it has no suffix of a video"
            raise ContainerError(target, f"{suffix}; {_THOSE_THAT_DO}") from exc
        self.encoders = encoders_for(self._output)  # names of the video encoders that it takes
        if self._output.format.name not in CONTAINERS or not self.encoders:
            raise ContainerError(target, f"{path.suffix} files do not hold each picture with its time; {_THOSE_THAT_DO}")

    @property
    def reorders(self) -> bool:
        """Whether it knows when a packet is shown beside when it is decoded."""
        return self._output.format.name not in DECODING_TIMES_ALONE

    @property
    def wants_global_header(self) -> bool:
        return bool(self._output.format.flags & self._av.format.Flags.global_header.value)

    def add_companions(self) -> list[str]:
        """Make room for all that accompanies the pictures. Returns what cannot be held, in words. Raises VideoWriteError."""
        return [] if self._companions is None else self._companions.add_to(self._output, self._target)

    def write(self, encoding: Encoding, facts: VideoFacts, parts: list[Part]) -> list[str]:
        """Write the parts with their companions and close the file. Returns notices. Raises VideoWriteError, VideoReadError."""
        try:
            stream = self._add_pictures(encoding, facts)
            shown = [packet.pts for part in parts for packet in read_packets(part)]
            stream.time_base = self._unit(encoding, shown)
            self.add_companions()
            self._output.start_encoding()
            if any(part.extradata != bytes(stream.codec_context.extradata or b"") for part in parts):
                raise VideoWriteError(self._target, "its parts are of another build of the encoder; start anew, without resume")
            coarse = _rounding(shown, encoding.time_base, stream.time_base)
            self._mux(stream, parts, iter(decoding_times(shown)), encoding.time_base)
            self._output.close()
        except (OSError, self._av.FFmpegError) as exc:
            raise write_error(self._target, exc) from exc
        unit, off = stream.time_base, float(coarse) * 1e3
        notices = [f"its container counts in {unit} s: times are off by up to {off:.2f} ms"] if coarse else []
        return notices + differences(self._path, encoding, shown[:PART_FRAMES])

    def _options(self) -> dict[str, str]:
        unusual = self._companions is not None and self._companions.has_unusual_tags
        return {"movflags": "+use_metadata_tags"} if unusual and self._path.suffix[1:] in _MP4_FAMILY else {}

    def _add_pictures(self, encoding: Encoding, facts: VideoFacts) -> Any:
        stream = self._output.add_stream(encoding.codec, rate=encoding.rate)
        configure(stream.codec_context, encoding)
        stream.metadata.update(facts.metadata)
        stream.disposition = facts.disposition
        return stream

    def _unit(self, encoding: Encoding, shown: list[int]) -> Fraction:
        """Of the stream's times, seconds, as a wish. AVI writes something for every unit, so it is to have few of them."""
        step = 1 / encoding.rate
        even = _rounding(shown, encoding.time_base, step) < encoding.time_base
        return step if even and self._output.format.name == "avi" else encoding.time_base

    def _mux(self, stream: Any, parts: list[Part], times: Iterator[int], unit: Fraction) -> None:
        for part in parts:
            for encoded in read_packets(part):
                dts = next(times)
                if self._companions is not None:
                    self._output.mux(list(self._companions.until(dts * unit)))
                self._output.mux(self._packet(stream, encoded, dts, unit))
        if self._companions is not None:
            for packet in self._companions.until(None):
                self._output.mux(packet)

    def _packet(self, stream: Any, encoded: EncodedPacket, dts: int, unit: Fraction) -> Any:
        packet = self._av.Packet(encoded.data)
        packet.stream, packet.time_base = stream, unit
        packet.pts, packet.dts, packet.duration = encoded.pts, dts, encoded.duration
        packet.is_keyframe = encoded.is_keyframe
        return packet


def _rounding(shown: list[int], unit: Fraction, other: Fraction) -> Fraction:
    """The largest difference, seconds, that counting in `other` instead of `unit` makes to the times `shown`."""
    return max(abs(pts * unit - round(pts * unit / other) * other) for pts in shown)
