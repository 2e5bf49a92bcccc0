"""Cameras: pictures as they come, with times that never go back, over connections that come and go."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from types import TracebackType

from restore_sdk.stream.camera_errors import CameraLostError, shown
from restore_sdk.stream.camera_options import CameraOptions
from restore_sdk.stream.camera_sources import CameraSource, Opener, Pixels, open_camera
from restore_sdk.stream.frames import FrameStream, Policy, stream_frames

_LEAST_STEP = 1e-3  # seconds from picture to picture where the camera's own clock stands still or goes back


@dataclass(frozen=True, slots=True)
class CameraFrame:
    """A picture, (H, W, 3) uint8 RGB.

    at:         seconds since the camera's first picture; increases from picture to picture, over new connections too
    sequence:   counts the pictures that were read, from 0
    connection: counts the connections, from 0; where it changes, what remembers earlier pictures should forget them
    """

    pixels: Pixels
    at: float
    sequence: int
    connection: int


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """How a camera is doing. Times in seconds; None: not yet."""

    source: str
    connected: bool
    frames: int
    connections: int
    failed_attempts: int
    last_error: str | None
    since_last_frame: float | None
    frames_per_second: float | None  # since the first picture of this connection


class Camera:
    """A camera's pictures as an iterator, for one thread; health() and close() may be called from any.

    source   "0" or "camera:0": the camera of that number; "/dev/video0"; or an address, such as rtsp://host/path
    options  how long it is waited for
    opener, clock, chance   stand for the outside world in tests

    A file works too, for trying things out: it is read as fast as its pictures are taken, and begins anew at its end, for ever.
    A lost connection is made again, at first after half a second, then after twice as long each time, with some jitter. Iterating
    raises CameraLostError, with the last reason, when the camera gave nothing for options.give_up_after; MissingExtraError.
    """

    def __init__(
        self,
        source: str,
        options: CameraOptions | None = None,
        *,
        opener: Opener = open_camera,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._source, self._options = source, options or CameraOptions()
        self._opener, self._clock, self._chance = opener, clock, chance
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._connected: CameraSource | None = None
        self._times = _Times()
        self._frames = self._failures = 0
        self._connections, self._of_connection = 0, 0
        self._first_at = self._last_at = clock()
        self._error: CameraLostError | None = None

    def __iter__(self) -> Iterator[CameraFrame]:
        """Pictures until close()."""
        self._last_at = self._clock()
        attempt = 0
        while not self._closed.is_set():
            try:
                with closing(self._one_connection()) as frames:
                    for frame in frames:
                        attempt = 0
                        yield frame
            except CameraLostError as exc:
                self._error, self._failures = exc, self._failures + 1
                self._wait(attempt, exc)
                attempt += 1

    def health(self) -> CameraHealth:
        """How it is doing now."""
        now, count = self._clock(), self._of_connection
        passed = self._last_at - self._first_at
        return CameraHealth(
            source=shown(self._source),
            connected=self._connected is not None,
            frames=self._frames,
            connections=self._connections,
            failed_attempts=self._failures,
            last_error=None if self._error is None else self._error.reason,
            since_last_frame=now - self._last_at if self._frames else None,
            frames_per_second=(count - 1) / passed if count > 1 and passed > 0 else None,
        )

    def close(self) -> None:
        """End the iteration: at once where it waits, after the picture in hand, or its timeout, where it reads."""
        self._closed.set()

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _one_connection(self) -> Generator[CameraFrame]:
        self._connected = self._opener(self._source, self._options)
        self._connections, self._of_connection = self._connections + 1, 0
        try:
            while not self._closed.is_set():
                pixels, pts = self._connected.read()
                self._last_at = self._clock()
                if not self._of_connection:
                    self._first_at = self._last_at
                    self._times.connect(self._last_at, pts)
                self._of_connection += 1
                self._frames += 1
                yield CameraFrame(pixels, self._times.of(self._last_at, pts), self._frames - 1, self._connections - 1)
        finally:
            connected, self._connected = self._connected, None
            connected.close()

    def _wait(self, attempt: int, error: CameraLostError) -> None:
        """Until the next attempt. Raises CameraLostError where the camera has been gone for too long."""
        limit, gone = self._options.give_up_after, self._clock() - self._last_at
        if limit is not None and gone >= limit:
            reason = f"gave no picture for {gone:.1f} s, so it is given up (give_up_after={limit:g} s): {error.reason}"
            raise CameraLostError(self._source, reason) from error
        wait = self._options.wait(attempt, self._chance())
        self._closed.wait(wait if limit is None else min(wait, max(0.0, limit - gone)))


class _Times:
    """Times that increase, from the camera's own clock where it has one, across connections that each begin anew."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._offset: float | None = None
        self._last = -_LEAST_STEP

    def connect(self, now: float, pts: float | None) -> None:
        """The first picture of a connection is there, at `now` on our clock."""
        if self._start is None:
            self._start = now
        self._offset = None if pts is None else now - self._start - pts

    def of(self, now: float, pts: float | None) -> float:
        """The time of a picture."""
        on_our_clock = now - (self._start or 0.0)
        at = on_our_clock if pts is None or self._offset is None else pts + self._offset
        self._last = max(at, self._last + _LEAST_STEP)
        return self._last


def restored_camera(
    camera: Camera,
    restore: Callable[[Pixels], Pixels],
    *,
    policy: Policy = "latest-only",
    max_age: float | None = None,
    workers: int = 1,
) -> FrameStream[CameraFrame]:
    """The camera's pictures restored, in threads of their own; arguments as for stream_frames(), `restore` as Restorer.restore.

    Between the camera and the consumer lies one waiting picture, the newest: whoever is slow sees fewer, never older ones.
    """
    return stream_frames(
        lambda frame: replace(frame, pixels=restore(frame.pixels)), camera, policy=policy, max_age=max_age, workers=workers
    )
