"""Where a camera's pictures come from: USB and V4L2 through OpenCV, RTSP, HTTP and other addresses through PyAV."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from restore_sdk.extras import require
from restore_sdk.stream.camera_errors import CameraLostError
from restore_sdk.stream.camera_options import CameraOptions
from restore_sdk.stream.video_pixels import coefficients

Pixels: TypeAlias = NDArray[np.uint8]
_DEVICE = re.compile(r"(?:camera:)?(\d+)|(/dev/\S+)")
# What FFmpeg looks at for longer before the first picture is a delay that stays
_AT_ONCE = {"flags": "low_delay", "analyzeduration": "1000000", "fpsprobesize": "0"}
_MOST_DAMAGED = 250  # packets one after another: no picture for about ten seconds
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class CameraSource(Protocol):
    """One connection to a camera."""

    def read(self) -> tuple[Pixels, float | None]:
        """The next picture, (H, W, 3) uint8 RGB, and its time in seconds on the camera's own clock, where it tells one.

        Raises CameraLostError once there are no more.
        """
        ...

    def close(self) -> None:
        """End the connection."""
        ...


Opener: TypeAlias = Callable[[str, CameraOptions], CameraSource]


def open_camera(source: str, options: CameraOptions) -> CameraSource:
    """Connect: "0" or "camera:0" is a camera by its number, "/dev/video0" a device, the rest an address, or a file, read once.

    Raises CameraLostError, MissingExtraError.
    """
    device = _DEVICE.fullmatch(source)
    if device is None:
        return NetworkCamera(source, options)
    return UsbCamera(source, int(device[1]) if device[1] is not None else device[2], options)


class UsbCamera:
    """A camera at this machine, through OpenCV, which does not say why one cannot be opened."""

    def __init__(self, source: str, device: int | str, options: CameraOptions) -> None:
        import cv2  # noqa: PLC0415 only here: the rest of the module does without

        self._source, self._cv2 = source, cv2
        if isinstance(device, str) and not Path(device).exists():
            raise CameraLostError(source, "there is no such device; see what /dev has, or plug the camera in")
        before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self._capture = cv2.VideoCapture(device, cv2.CAP_ANY)
        finally:
            cv2.utils.logging.setLogLevel(before)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraLostError(source, "it cannot be opened; check that it is plugged in, and that no other program has it")
        self._capture.set(cv2.CAP_PROP_READ_TIMEOUT_MSEC, options.read_timeout * 1e3)  # where the way to the camera knows it
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def read(self) -> tuple[Pixels, float | None]:
        """See CameraSource.read."""
        there, picture = self._capture.read()
        if not there or picture is None:
            raise CameraLostError(self._source, "it gives no more pictures; check its cable")
        at = self._capture.get(self._cv2.CAP_PROP_POS_MSEC)
        return np.asarray(self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB), np.uint8), at / 1e3 if at > 0 else None

    def close(self) -> None:
        """See CameraSource.close."""
        self._capture.release()


class NetworkCamera:
    """A camera, or anything else that FFmpeg opens, at an address."""

    def __init__(self, source: str, options: CameraOptions) -> None:
        self._av: Any = require("av", "video")
        self._source = source
        wishes: dict[str, str] = {"rtsp_transport": options.transport} if source.lower().startswith("rtsp") else {}
        wishes |= _AT_ONCE if _ADDRESS.match(source) else {}
        try:
            timeouts = (options.open_timeout, options.read_timeout)
            self._container = self._av.open(
                source, options=wishes | dict(options.more), timeout=timeouts, metadata_errors="replace"
            )
        except (self._av.FFmpegError, ValueError, OSError) as exc:
            raise self._lost("it cannot be opened", exc) from exc
        if not self._container.streams.video:
            self._container.close()
            raise CameraLostError(source, "it has no video; check its address")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "SLICE"  # threads over frames would hold each picture back for several
        self._frames = self._decoded()

    def read(self) -> tuple[Pixels, float | None]:
        """See CameraSource.read."""
        try:
            frame = next(self._frames, None)
        except (self._av.FFmpegError, OSError) as exc:
            raise self._lost("it gives no more pictures", exc) from exc
        if frame is None:
            raise CameraLostError(self._source, "it ended; check that it still sends")
        limits = 2 if frame.format.name.startswith("yuvj") else int(frame.color_range)
        matrix = coefficients(int(frame.colorspace), frame.height)
        return frame.to_ndarray(format="rgb24", src_colorspace=matrix, src_color_range=limits, dst_color_range=2), frame.time

    def close(self) -> None:
        """See CameraSource.close."""
        self._container.close()

    def _decoded(self) -> Iterator[Any]:
        """Frames; what was damaged on its way is left out, as long as something whole follows."""
        damaged = 0
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except self._av.error.InvalidDataError:
                damaged += 1
                if damaged > _MOST_DAMAGED:
                    raise
                continue
            for frame in frames:
                damaged = 0
                yield frame

    def _lost(self, what: str, exc: Exception) -> CameraLostError:
        said = getattr(exc, "strerror", None) or exc
        return CameraLostError(self._source, f"{what} ({said}); check its address and the network")
