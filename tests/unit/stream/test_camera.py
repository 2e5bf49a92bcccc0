"""Connections that break and come back, times that never go back, and a camera that is gone for good."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from stream_threads import threads, until

from restore_sdk.errors import ImageReadError, OptionsError
from restore_sdk.stream.camera import Camera, restored_camera
from restore_sdk.stream.camera_errors import CameraLostError, shown
from restore_sdk.stream.camera_options import CameraOptions
from restore_sdk.stream.errors import StreamError

PIXELS = np.zeros((4, 6, 3), np.uint8)


class Clock:
    """Time passes only when somebody waits or a picture comes."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """A source whose connections give the listed times (None: no clock of its own) and then fail; then none can be made."""

    def __init__(self, clock: Clock, *connections: list[float | None], step: float = 0.1) -> None:
        self._clock, self._connections, self._step = clock, iter(connections), step
        self.opened = self.closed = 0
        self._times = iter(())

    def __call__(self, source: str, options: CameraOptions) -> Scripted:
        times = next(self._connections, None)
        if times is None:
            self._clock.now += 1.0
            raise CameraLostError(source, "refused; check its address")
        self._times = iter(times)
        self.opened += 1
        return self

    def read(self) -> tuple[np.ndarray, float | None]:
        self._clock.now += self._step
        for at in self._times:
            return PIXELS, at
        raise CameraLostError("test", "it ended; check that it still sends")

    def close(self) -> None:
        self.closed += 1


def camera(*connections: list[float | None], **options: float) -> tuple[Camera, Scripted]:
    clock = Clock()
    source = Scripted(clock, *connections)
    return Camera(
        "test",
        CameraOptions(**{"first_wait": 1e-3, "longest_wait": 2e-3, "give_up_after": 3.0, **options}),
        opener=source,
        clock=clock,
    ), source


def collected(made: Camera) -> tuple[list, CameraLostError]:
    frames = []
    with pytest.raises(CameraLostError) as caught:
        frames.extend(itertools.chain(frames.append(frame) or () for frame in made))
    return [frame for frame in frames if frame], caught.value


def test_times_go_on_over_connections_that_begin_anew() -> None:
    made, source = camera([5.0, 5.1, 5.2], [0.0, 0.1])
    frames, error = collected(made)
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.connection for frame in frames] == [0, 0, 0, 1, 1]
    times = [frame.at for frame in frames]
    np.testing.assert_allclose(times[:3], [0.0, 0.1, 0.2])
    assert times[3] > times[2]
    np.testing.assert_allclose(times[4] - times[3], 0.1)
    assert source.opened == source.closed == 2
    assert isinstance(error, ImageReadError)


@pytest.mark.parametrize("times", [[1.0, 1.0, 0.5, 0.2, 3.0], [None, None, None], [None, 2.0, 1.0], [2.0, None, 2.1]])
def test_times_increase_whatever_the_camera_says(times: list[float | None]) -> None:
    made, _ = camera(times, times)
    frames, _ = collected(made)
    assert len(frames) == 2 * len(times)
    assert all(before.at < after.at for before, after in itertools.pairwise(frames))


def test_gone_for_good_says_why_and_after_how_long() -> None:
    made, _ = camera([0.0], give_up_after=3.0)
    frames, error = collected(made)
    assert len(frames) == 1
    assert "give_up_after=3 s" in str(error)
    assert "refused" in str(error)
    health = made.health()
    assert (health.connected, health.frames, health.connections, health.failed_attempts) == (False, 1, 1, 4)
    assert health.last_error == "refused; check its address"
    assert health.since_last_frame == pytest.approx(3.1)


def test_camera_that_was_never_there() -> None:
    made, _ = camera()
    frames, error = collected(made)
    assert frames == []
    assert error.source == "test"
    assert made.health().since_last_frame is None


def test_waits_double_up_to_the_longest_with_jitter() -> None:
    options = CameraOptions(first_wait=0.5, longest_wait=30, jitter=0.5)
    assert [options.wait(attempt, 0.0) for attempt in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert [options.wait(attempt, 1.0) for attempt in (0, 7, 1000)] == [0.25, 15, 15]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("open_timeout", 0),
        ("read_timeout", -1),
        ("give_up_after", float("inf")),
        ("jitter", 2),
        ("transport", "smoke"),
        ("first_wait", "1"),
    ],
)
def test_options_out_of_range(name: str, value: object) -> None:
    with pytest.raises(OptionsError) as caught:
        CameraOptions(**{name: value})
    assert caught.value.name == name


def test_close_ends_a_wait_at_once() -> None:
    made, _ = camera(first_wait=1000.0, longest_wait=1000.0, give_up_after=5000.0)
    frames: list = []
    reading = threading.Thread(target=lambda: frames.extend(made))
    reading.start()
    until(lambda: made.health().failed_attempts == 1)
    made.close()
    reading.join(20)
    assert not reading.is_alive()
    assert frames == []


def test_restored_camera_hands_out_pictures_with_their_times() -> None:
    made, source = camera([0.0, 0.1, 0.2])
    seen = []
    with restored_camera(made, lambda pixels: pixels + 1, policy="block") as stream, pytest.raises(StreamError) as caught:
        seen.extend((frame.sequence, frame.pixels.max()) for frame in stream)
    assert isinstance(caught.value.cause, CameraLostError)
    assert (caught.value.frame, caught.value.stage) == (3, "read")
    until(lambda: not threads())
    assert source.closed == 1


def test_slow_consumer_gets_the_newest_picture() -> None:
    made, _ = camera([number / 25 for number in range(200)], give_up_after=1e-6)
    seen = []

    def restore(pixels: np.ndarray) -> np.ndarray:
        until(lambda: made.health().last_error is not None)  # slower than the camera: all 200 were read meanwhile
        return pixels

    with restored_camera(made, restore) as stream:
        with pytest.raises(StreamError):
            seen.extend(itertools.chain.from_iterable([frame.sequence] for frame in stream))
        dropped = stream.dropped
    assert seen == sorted(seen)
    assert seen[-1] == 199
    assert len(seen) + dropped == 200
    assert len(seen) <= 3


def test_password_is_not_shown() -> None:
    error = CameraLostError("rtsp://user:secret@host/a", "rtsp://user:secret@host/a refused")
    assert "secret" not in str(error) + error.source
    assert shown("rtsp://user:secret@host:554/a") == "rtsp://user:***@host:554/a"
    assert shown("rtsp://host/a:b@c") == "rtsp://host/a:b@c"
