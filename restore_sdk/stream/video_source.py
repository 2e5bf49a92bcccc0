"""Videos in: demuxed and decoded by PyAV, upright float pixels with their times out."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import DeviceUnavailableError
from restore_sdk.extras import require
from restore_sdk.stream.errors import VideoReadError
from restore_sdk.stream.video_facts import DECODING_TIMES_ALONE, VideoFacts, read_facts
from restore_sdk.stream.video_pixels import PixelReader
from restore_sdk.stream.video_watch import Watch
from restore_sdk.stream.y4m_input import Y4M, CountedInput, WholePictures

STANDARD_INPUT = "-"
PICTURE = "it is a picture, no video; pass it to `restore image`, or to Restorer.restore_file"
_PICTURE_BRANDS = ("avif", "heic", "heix", "mif1")  # of ISO files, where a picture is a film of one frame to FFmpeg
NO_VIDEO = "it is no video, or cut off before its index; check it with a player"
_TEXT = {"tty", "bin", "xbin", "adf", "idf"}  # by which FFmpeg plays text on a screen: any .txt file would be a video


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame: (H, W, 3) float32 RGB in [0, 1], upright; its time and length in units of the stream's time base."""

    pixels: NDArray[np.float32]
    pts: int
    duration: int


class VideoSource:
    """The first video stream of a file, or y4m on standard input.

    decoder  a decoder's name ("h264_cuvid") or a device that decodes ("cuda", "qsv"); None: FFmpeg's own

    Raises VideoReadError, DeviceUnavailableError, MissingExtraError.
    """

    def __init__(self, path: Path | str, *, decoder: str | None = None) -> None:
        self._av = require("av", "video")
        self._path, self._decoder_name = path, decoder
        self._counted: CountedInput | None = None
        self.damaged = 0  # frames that the decoder had to patch up
        self.missing = 0.0  # seconds at its end, too few to be an error
        try:
            first = self._begin()
        except BaseException:
            if self._counted is not None and self._counted.interrupted:  # what FFmpeg swallowed
                raise KeyboardInterrupt from None
            raise
        self.sample = first  # for what only a frame can tell
        self._pending: list[Any] = [first]
        self._first_pts: int = first.pts or 0
        self._pixels = PixelReader(self.facts)

    @property
    def stream_index(self) -> int:
        """Of the video stream in its container."""
        return int(self._stream.index)

    def pictures(self, start: int | None = None, stop: int | None = None, after: int | None = None) -> Iterator[Picture]:
        """Pictures with start <= pts < stop and pts > after, all in units of the time base; None: no limit.

        Once for each source. Raises VideoReadError where the file breaks off, is damaged, changes its size, or its times do not
        increase.
        """
        limits = [limit for limit in (start, after) if limit is not None]
        if limits and max(limits) > self._first_pts:
            self._seek(max(limits))
        watch = Watch(self.facts)
        for frame in self._from_pending():
            pts, duration = watch.check(frame)
            if stop is not None and pts >= stop:
                return
            if (start is not None and pts < start) or (after is not None and pts <= after):
                continue
            self.damaged += bool(frame.is_corrupt)
            yield Picture(self._pixels.read(frame), pts, duration)
        self._whole.check(stop)
        self.missing = watch.check_end(stop)

    def stop(self) -> None:
        """End standard input, also for a thread that waits for it; a file goes on."""
        if self._counted is not None:
            self._counted.stop()

    def close(self) -> None:
        """Close the file; a second call does nothing. Standard input stays open."""
        self._frames.close()
        self._container.close()

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _begin(self) -> Any:
        """The first frame, once all is open and the facts are read."""
        self._open()
        try:
            first = next(self._frames, None)
            if first is None:
                raise VideoReadError(self._path, "its video stream has no frame that can be decoded; check it with a player")
            self.facts: VideoFacts = read_facts(self._path, self._container, self._stream, first)
        except BaseException:
            self.close()
            raise
        return first

    def _open(self) -> None:
        self._container = self._opened()
        try:
            self._stream = self._video_stream()
            self._stream.thread_type = "AUTO"
            self._decode = self._decoder()
        except BaseException:
            self._container.close()
            raise
        self._whole = WholePictures(self._path, self._container, self._counted)
        self._frames = self._decoded()

    def _opened(self) -> Any:
        accelerated = {}
        if self._is_device:
            accelerated["hwaccel"] = self._av.codec.hwaccel.HWAccel(device_type=self._decoder_name)
        try:
            return self._open_container(**accelerated)
        except (self._av.FFmpegError, RuntimeError) as exc:
            others = self._other_decoders() if accelerated else []
            if not others:
                raise VideoReadError(self._path, _reason(exc, self._path)) from exc
            raise self._no_device(others, exc) from exc

    def _open_container(self, **more: Any) -> Any:
        if self._path == STANDARD_INPUT:
            self._counted = CountedInput()
            return self._av.open(self._counted, format=Y4M, metadata_errors="replace", **more)
        return self._av.open(str(self._path), metadata_errors="replace", **more)

    def _other_decoders(self) -> list[str]:
        """What could decode the file where the device failed; nothing where it is the file that failed."""
        try:
            with self._open_container() as container:
                return decoders_for(container.streams.video[0].codec_context.codec.canonical_name)
        except (self._av.FFmpegError, IndexError):
            return []

    @property
    def _decoding_times_alone(self) -> bool:
        return self._container.format.name in DECODING_TIMES_ALONE

    @property
    def _is_device(self) -> bool:
        return self._decoder_name in self._av.codec.hwaccel.hwdevices_available()

    def _video_stream(self) -> Any:
        pictures = self._av.stream.Disposition.attached_pic
        streams = [stream for stream in self._container.streams.video if not stream.disposition & pictures]
        if not self._container.streams or self._container.format.name in _TEXT:
            raise VideoReadError(self._path, NO_VIDEO)
        if self._is_picture():
            raise VideoReadError(self._path, PICTURE)
        if not streams:
            kinds = sorted({"a cover" if stream.type == "video" else stream.type for stream in self._container.streams})
            raise VideoReadError(self._path, f"it has no video, only {' and '.join(kinds)}; name a file with pictures")
        if streams[0].codec_context is None:
            raise VideoReadError(self._path, "its video codec is unknown to this build of FFmpeg; convert it first")
        return streams[0]

    def _is_picture(self) -> bool:
        """Whether it is one image file; a name such as %03d.png stands for many, and those are a video."""
        name = self._container.format.name
        if name.endswith("_pipe") or name == "image2":
            return os.path.exists(self._path)
        if name == "gif":
            return bool(self._container.streams.video[0].frames == 1)
        return self._container.metadata.get("major_brand") in _PICTURE_BRANDS

    def _decoder(self) -> Any:
        """What turns a packet into frames."""
        name, context = self._decoder_name, self._stream.codec_context
        if name is None:
            return lambda packet: packet.decode()
        known = decoders_for(context.codec.canonical_name)
        if self._is_device and context.is_hwaccel:
            return lambda packet: packet.decode()
        if self._is_device or name not in known:
            raise DeviceUnavailableError(
                name, [other for other in known if other != name], "pass one of these as the decoder, or leave it out"
            )
        try:
            decoder = self._av.codec.CodecContext.create(name, "r")
            decoder.extradata = context.extradata
            decoder.open()
        except (self._av.FFmpegError, ValueError) as exc:
            raise self._no_device(known, exc) from exc
        return lambda packet: decoder.decode(packet if packet.size else None)

    def _decoded(self) -> Generator[Any]:
        at: float | None = None
        try:
            for packet in self._container.demux(self._stream):
                self._whole.saw(packet)
                for frame in self._decode(packet):
                    if self._decoding_times_alone:
                        frame.pts = frame.dts  # what FFmpeg makes up for pts is late, and out of order
                    yield frame
                    at = frame.time
        except self._av.FFmpegError as exc:
            if at is None and self._decoder_name is not None:
                raise self._no_device(decoders_for(self._stream.codec_context.codec.canonical_name), exc) from exc
            where = "at its beginning" if at is None else f"after {at:.3f} s; pass an end of {at:.3f} s to restore what is there"
            raise VideoReadError(self._path, f"it is damaged ({exc.strerror}) {where}") from exc

    def _no_device(self, known: list[str], exc: Exception) -> DeviceUnavailableError:
        remedy = f"it does not start here ({exc}); leave the decoder out"
        return DeviceUnavailableError(str(self._decoder_name), [name for name in known if name != self._decoder_name], remedy)

    def _seek(self, pts: int) -> None:
        """Go to the keyframe before `pts`; to the beginning where the container cannot seek or would skip something. Standard
        input is read on."""
        if self._path == STANDARD_INPUT:
            return
        self._pending = []
        first = None if self._decoding_times_alone else self._first_after_seeking(pts)  # which would count otherwise
        if first is not None and first.pts is not None and first.pts <= pts:
            self._pending = [first]
            return
        self.close()
        self._open()

    def _first_after_seeking(self, pts: int) -> Any:
        try:
            self._container.seek(pts, stream=self._stream, backward=True)
            self._frames = self._decoded()
            return next(self._frames, None)
        except (self._av.FFmpegError, VideoReadError):
            return None

    def _from_pending(self) -> Iterator[Any]:
        yield from self._pending
        self._pending = []
        yield from self._frames


def decoders_for(codec: str) -> list[str]:
    """Names of the decoders of `codec` in this build, those in hardware and the devices that decode it included."""
    av = require("av", "video")
    names, devices = [], set()
    for name in sorted(av.codecs_available):
        try:
            decoder = av.Codec(name, "r")
        except ValueError:
            continue
        if decoder.canonical_name == codec:
            names.append(name)
            devices |= {config.device_type.name for config in decoder.hardware_configs}
    return [*names, *(name for name in av.codec.hwaccel.hwdevices_available() if name in devices)]


def _reason(exc: Exception, path: Path | str) -> str:
    if path == STANDARD_INPUT:
        return "standard input is no y4m; put ffmpeg -i FILE -f yuv4mpegpipe -strict -1 - in front, or name the file"
    said = getattr(exc, "strerror", None) or str(exc)
    if isinstance(exc, FileNotFoundError):
        return "it does not exist; check the name"
    if isinstance(exc, OSError):
        return f"{said}; check the file and its permissions"
    return f"{said}; {NO_VIDEO}"
