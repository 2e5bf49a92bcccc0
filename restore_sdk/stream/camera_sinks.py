"""Where restored pictures of a camera go: a window, a file, a receiver in the network, or a function."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from restore_sdk.extras import require
from restore_sdk.stream.camera import CameraFrame
from restore_sdk.stream.camera_errors import CameraSinkError, CameraTargetError
from restore_sdk.stream.camera_sources import Pixels
from restore_sdk.stream.video_codecs import AS_JFIF, JFIF_MATRIX, JFIF_RANGE, encoders_for, plain_formats
from restore_sdk.stream.video_facts import DECODING_TIMES_ALONE
from restore_sdk.stream.video_pixels import LARGEST_SD, coefficients

_TIME_BASE = Fraction(1, 90_000)  # of a second: what RTP and MPEG transport streams count in
_FORMATS = {"rtsp": "rtsp", "udp": "mpegts", "rtmp": "flv", "srt": "mpegts"}
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_GROUP = 60  # pictures from keyframe to keyframe where it is sent: a receiver that comes later has to wait for one
WINDOW = "window"
_ESCAPE = 27


class CameraSink(Protocol):
    """Takes pictures one after another."""

    def write(self, frame: CameraFrame) -> bool:
        """The next picture; False where the sink wants no more. Raises CameraSinkError."""
        ...

    def close(self) -> None:
        """No more pictures come; what was taken is brought to its end."""
        ...


Callback: TypeAlias = Callable[[CameraFrame], object]


def open_sink(target: str | Callback, *, codec: str = "libx264", overwrite: bool = False) -> CameraSink:
    """A sink by its name: "window"; an address, rtsp:// or udp:// among them; a video file; or a function.

    Nothing is opened before the first picture. Raises CameraSinkError, and of that CameraTargetError for what is no sink, or a
    codec that it cannot hold; MissingExtraError.
    """
    if callable(target):
        return CallbackSink(target)
    if target == WINDOW:
        return WindowSink()
    address = _ADDRESS.match(target)
    if address is None:
        return EncodedSink(target, None, codec, overwrite=overwrite)
    kind = address[1].lower()
    if kind not in _FORMATS:
        raise CameraTargetError(
            target, f"{kind}:// is no way to send; use {', '.join(f'{name}://' for name in sorted(_FORMATS))}"
        )
    return EncodedSink(target, _FORMATS[kind], codec, overwrite=True)


class CallbackSink:
    """A function that is called with every picture; what returns False ends the stream."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    def write(self, frame: CameraFrame) -> bool:
        """See CameraSink.write."""
        return self._callback(frame) is not False

    def close(self) -> None:
        """See CameraSink.close."""


class WindowSink:
    """A window on this machine's screen; Escape, q or its close button ends the stream."""

    def __init__(self, title: str = "restore camera") -> None:
        import cv2  # noqa: PLC0415 only here

        self._cv2, self._title = cv2, title

    def write(self, frame: CameraFrame) -> bool:
        """See CameraSink.write."""
        cv2 = self._cv2
        try:
            cv2.imshow(self._title, frame.pixels[..., ::-1])
            key = cv2.waitKey(1) & 0xFF
            return key not in {_ESCAPE, ord("q")} and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error as exc:
            remedy = "run pip install opencv-python in place of opencv-python-headless, or name another sink"
            raise CameraSinkError(WINDOW, f"this OpenCV has no windows; {remedy}") from exc

    def close(self) -> None:
        """See CameraSink.close."""
        with suppress(self._cv2.error):
            self._cv2.destroyWindow(self._title)


class EncodedSink:
    """A video file, or a stream to a receiver. Pictures of another size than the first are scaled to it."""

    def __init__(self, target: str, container: str | None, codec: str, *, overwrite: bool) -> None:
        self._av: Any = require("av", "video")
        self._target, self._container, self._codec = target, container, codec
        if container is None:
            _check_file(target, overwrite)
        with self._new_output() as output:
            self._check_codec(output)
        self._output: Any = None
        self._stream: Any = None
        self._first_at: float | None = None
        self._last_pts = -1

    def write(self, frame: CameraFrame) -> bool:
        """See CameraSink.write."""
        try:
            if self._output is None:
                self._open(frame)
            picture = self._av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")
            picture = self._converted(picture)
            pts = round((frame.at - (self._first_at or 0.0)) / _TIME_BASE)
            self._last_pts = max(pts, self._last_pts + 1)
            picture.pts, picture.time_base = self._last_pts, _TIME_BASE
            self._output.mux(self._stream.encode(picture))
        except CameraSinkError:
            raise
        except (self._av.FFmpegError, OSError, ValueError) as exc:
            raise self._failed(exc) from exc
        return True

    def close(self) -> None:
        """See CameraSink.close."""
        output, self._output = self._output, None
        if output is None:
            return
        try:
            output.mux(self._stream.encode(None))
            output.close()
        except (self._av.FFmpegError, OSError, ValueError) as exc:
            with suppress(self._av.FFmpegError, OSError):
                output.close()
            raise self._failed(exc) from exc

    def _open(self, frame: CameraFrame) -> None:
        output = self._new_output()
        try:
            self._stream = self._new_stream(output, frame.pixels, live=self._container is not None)
        except BaseException:
            output.close()
            raise
        self._output, self._first_at = output, frame.at

    def _new_output(self) -> Any:
        """Nothing is on disk or in the network before its first packet."""
        live = self._container is not None
        options = {"rtsp_transport": "tcp"} if self._container == "rtsp" else {}
        if not live and self._target.endswith((".mp4", ".mov")):
            options = {"movflags": "frag_keyframe+empty_moov"}  # readable up to the last second if the power fails
        try:
            return self._av.open(self._target, "w", format=self._container, options=options, timeout=5.0 if live else None)
        except ValueError as exc:
            raise CameraTargetError(self._target, "no container is known for that name; end it in .mp4, .mkv or .mov") from exc

    def _check_codec(self, output: Any) -> None:
        known = encoders_for(output) or sorted(self._av.codecs_available)
        if self._codec not in known:
            reason = f"{self._codec} is no encoder of this build that {output.format.name} takes; those are: {', '.join(known)}"
            raise CameraTargetError(self._target, reason)

    def _new_stream(self, output: Any, pixels: Pixels, *, live: bool) -> Any:
        fast = {"preset": "veryfast", **({"tune": "zerolatency"} if live else {})} if self._codec.startswith("libx26") else {}
        stream = output.add_stream(self._codec, rate=30, options=fast)
        height, width = pixels.shape[:2]
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt, stream.codec_context.time_base = _format_of(self._codec), _TIME_BASE
        _tag_colours(stream.codec_context)
        if output.format.name in DECODING_TIMES_ALONE:
            stream.codec_context.max_b_frames = 0
        if live:
            stream.codec_context.gop_size = _GROUP
        return stream

    def _converted(self, picture: Any) -> Any:
        """As the encoder takes it, in the colours that its tags name."""
        stream, context = self._stream, self._stream.codec_context
        matrix = coefficients(int(context.colorspace), stream.height)
        sides = {"width": stream.width, "height": stream.height, "format": stream.pix_fmt}
        return picture.reformat(**sides, dst_colorspace=matrix, src_color_range=2, dst_color_range=int(context.color_range))

    def _failed(self, exc: Exception) -> CameraSinkError:
        said = getattr(exc, "strerror", None) or exc
        where = "check the folder, the disk and the codec" if self._container is None else "check that the receiver is there"
        return CameraSinkError(self._target, f"{said}; {where}")


def _check_file(target: str, overwrite: bool) -> None:
    path = Path(target)
    if path.is_dir():
        raise CameraSinkError(target, "it is a directory; give the name of a video file in it")
    if not path.parent.is_dir():
        raise CameraSinkError(target, f"the folder {path.parent} does not exist; create it first")
    if path.exists() and not overwrite:
        raise CameraSinkError(target, "it exists already; allow overwriting or pick another name")


def _format_of(codec: str) -> str:
    """What every player knows, or what is nearest to it."""
    names = plain_formats(codec)
    if "yuv420p" in names or not names:
        return "yuv420p"
    best, _ = require("av", "video").codec.codec.find_best_pix_fmt_of_list(names, "rgb24")
    return str(best.name)


def _tag_colours(context: Any) -> None:
    """BT.709 for what is larger than television once was, else BT.601, as players take what says nothing. Numbers of H.273."""
    if context.format.is_rgb:
        context.color_range = 2
        return
    standard = 1 if context.height > LARGEST_SD else 6
    context.colorspace = context.color_trc = context.color_primaries = standard
    context.color_range = 1
    if context.name in AS_JFIF:
        context.color_range, context.colorspace = JFIF_RANGE, JFIF_MATRIX
