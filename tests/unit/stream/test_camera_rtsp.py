"""Real connections: an RTSP server that plays a real clip and is killed and started again, HTTP, files, and sending."""

from __future__ import annotations

import http.server
import itertools
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from restore_sdk.stream.camera import Camera, CameraFrame, restored_camera
from restore_sdk.stream.camera_errors import CameraLostError, CameraSinkError, CameraTargetError
from restore_sdk.stream.camera_options import CameraOptions
from restore_sdk.stream.camera_sinks import WINDOW, open_sink
from restore_sdk.stream.camera_sources import open_camera
from restore_sdk.stream.video_source import VideoSource

av = pytest.importorskip("av", reason="needs the extra video")

CLIP = Path(__file__).resolve().parents[4] / "shared" / "data" / "video" / "bikes.mp4"
SERVER = Path(__file__).with_name("camera_rtsp_server.py")
PATIENT = CameraOptions(open_timeout=20.0, read_timeout=20.0, first_wait=0.05, longest_wait=0.2, give_up_after=60.0)


@pytest.fixture
def clip() -> Path:
    if not CLIP.is_file():
        pytest.skip("the clip of shared/data/video is not here")
    return CLIP


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def server(port: int, clip: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(SERVER), str(port), str(clip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def first_of(clip: Path) -> np.ndarray:
    with av.open(str(clip)) as given:
        return next(given.decode(video=0)).to_ndarray(format="rgb24")


def test_server_that_is_killed_and_comes_back(clip: Path, port: int) -> None:
    frames: list[CameraFrame] = []
    with Camera(f"rtsp://127.0.0.1:{port}/clip", PATIENT) as camera:
        pictures = iter(camera)
        with server(port, clip):
            frames += itertools.islice(pictures, 5)
        with server(port, clip):
            frames += itertools.takewhile(lambda frame: frame.connection == 0, pictures)
            frames += itertools.islice(pictures, 5)
        health = camera.health()
    np.testing.assert_array_equal(frames[0].pixels, first_of(clip))
    assert frames[-1].connection == 1
    assert health.connections == 2
    assert health.failed_attempts >= 1
    assert [frame.sequence for frame in frames[:5]] == [0, 1, 2, 3, 4]
    assert all(before.at < after.at for before, after in itertools.pairwise(frames))


def test_server_that_does_not_come_back(clip: Path, port: int) -> None:
    options = CameraOptions(open_timeout=20.0, read_timeout=2.0, first_wait=0.05, longest_wait=0.2, give_up_after=1.0)
    with Camera(f"rtsp://user:secret@127.0.0.1:{port}/clip", options) as camera:
        pictures = iter(camera)
        with server(port, clip):
            next(pictures)
        with pytest.raises(CameraLostError, match="give_up_after=1 s") as caught:
            list(pictures)
    assert "secret" not in str(caught.value)


def test_restored_from_rtsp_into_a_file(clip: Path, port: int, tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.mp4"))
    with (
        server(port, clip),
        Camera(f"rtsp://127.0.0.1:{port}/clip", PATIENT) as camera,
        restored_camera(camera, lambda pixels: 255 - pixels) as stream,
    ):
        times = [frame.at for frame in itertools.islice(stream, 8) if sink.write(frame)]
        camera.close()
    sink.close()
    with av.open(str(tmp_path / "out.mp4")) as made:
        frames = list(made.decode(video=0))
    np.testing.assert_allclose([float(frame.time - frames[0].time) for frame in frames], np.array(times) - times[0], atol=1e-3)
    expected = 255 - first_of(clip).astype(int)
    assert np.abs(frames[0].to_ndarray(format="rgb24") - expected).mean() < 40  # the first that came may be another of the clip


def test_pushed_to_an_rtsp_receiver(clip: Path, port: int) -> None:
    received: list[np.ndarray] = []
    enough = threading.Event()

    def receive() -> None:
        address = f"rtsp://127.0.0.1:{port}/live"
        listening = {"rtsp_flags": "listen", "listen_timeout": "30"}
        with suppress(av.FFmpegError), av.open(address, options=listening) as given:
            for frame in given.decode(video=0):
                received.append(frame.to_ndarray(format="rgb24"))
                if len(received) == 3:
                    enough.set()
                    return

    receiver = threading.Thread(target=receive)
    receiver.start()
    pictures = [CameraFrame(np.full((64, 96, 3), 40 * number % 200, np.uint8), number / 25, number, 0) for number in range(200)]
    sink = open_when_there(f"rtsp://127.0.0.1:{port}/live", pictures[0])
    with suppress(CameraSinkError):  # the receiver leaves when it has enough
        for picture in pictures[1:]:
            if enough.wait(0.02):
                break
            sink.write(picture)
    with suppress(CameraSinkError):
        sink.close()
    receiver.join(40)
    assert len(received) == 3
    assert received[0].shape == (64, 96, 3)


def open_when_there(address: str, picture: CameraFrame):
    """A sink that has written its first picture; the receiver needs a moment until it listens."""
    for _ in range(200):
        sink = open_sink(address)
        try:
            sink.write(picture)
        except CameraSinkError:
            threading.Event().wait(0.05)
            continue
        return sink
    raise AssertionError("the receiver never listened")


def test_http_that_ends(clip: Path, tmp_path: Path) -> None:
    with av.open(str(clip)) as given, av.open(str(tmp_path / "clip.mkv"), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is None:  # the end
                continue
            packet.stream = stream
            output.mux(packet)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path))) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        with Camera(f"http://127.0.0.1:{web.server_port}/clip.mkv", PATIENT) as camera:
            frames = list(itertools.takewhile(lambda frame: frame.connection == 0, camera))
        web.shutdown()
    with av.open(str(tmp_path / "clip.mkv")) as given:
        times = [frame.time for frame in given.decode(video=0)]
    np.testing.assert_allclose([frame.at for frame in frames], np.array(times) - times[0], atol=1e-6)
    np.testing.assert_array_equal(frames[0].pixels, first_of(clip))


class Silent(http.server.SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/dev/nothing-here", "no such device"),
        ("63", "plugged in"),
        ("rtsp://127.0.0.1:9/none", "cannot be opened"),
        ("missing.mp4", "cannot be opened"),
        (__file__, "cannot be opened"),
    ],
)
def test_cameras_that_are_not_there(source: str, words: str) -> None:
    with pytest.raises(CameraLostError, match=words):
        open_camera(source, PATIENT)


def test_callback_ends_the_stream_with_false() -> None:
    seen: list[int] = []
    sink = open_sink(lambda frame: seen.append(frame.sequence) or (False if frame.sequence else None))
    picture = np.zeros((4, 4, 3), np.uint8)
    assert [sink.write(CameraFrame(picture, 0.0, number, 0)) for number in range(2)] == [True, False]
    assert seen == [0, 1]
    sink.close()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("none/out.mp4", "does not exist"),
        (".", "directory"),
        ("gopher://host/x", "no way to send"),
        ("there.mp4", "exists"),
        ("out.nonsense", "no container is known for that name"),
    ],
)
def test_sinks_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.mp4").touch()
    with pytest.raises(CameraSinkError, match=words):
        open_sink(target)


def test_a_receiver_that_is_not_there_is_told_with_the_first_picture() -> None:
    with pytest.raises(CameraSinkError, match="check that the receiver is there"):
        open_sink("rtsp://127.0.0.1:9/none").write(CameraFrame(np.zeros((8, 8, 3), np.uint8), 0.0, 0, 0))


@pytest.mark.parametrize(
    ("target", "codec", "words"),
    [
        ("out.mp4", "nonsense", "nonsense is no encoder of this build that mp4 takes; those are: .*libx264"),
        ("out.mp4", "aac", "aac is no encoder of this build"),
        ("out.webm", "libx264", "libx264 is no encoder of this build that webm takes; those are: .*libvpx-vp9"),
        ("udp://127.0.0.1:9", "nonsense", "nonsense is no encoder of this build that mpegts takes; those are: .*libx264"),
    ],
)
def test_codec_that_is_not_there_lists_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, codec: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CameraTargetError, match=words):
        open_sink(target, codec=codec)
    assert list(tmp_path.iterdir()) == []


def test_window_without_a_screen_names_the_remedy() -> None:
    import cv2

    if "GTK" in cv2.getBuildInformation().partition("GUI:")[2][:40]:
        pytest.skip("this OpenCV has windows")
    with pytest.raises(CameraSinkError, match="opencv-python"):
        open_sink(WINDOW).write(CameraFrame(np.zeros((8, 8, 3), np.uint8), 0.0, 0, 0))


@pytest.mark.parametrize(
    ("name", "codec"), [("out.avi", "libx264"), ("out.gif", "gif"), ("out.mov", "prores_ks"), ("out.mkv", "mjpeg")]
)
def test_files_of_other_kinds(name: str, codec: str, tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / name), codec=codec)
    for number in range(8):
        sink.write(CameraFrame(np.full((32, 32, 3), 30 * number, np.uint8), number / 5, number, 0))
    sink.close()
    with av.open(str(tmp_path / name)) as file:
        shown = [frame.dts * file.streams.video[0].time_base for frame in file.decode(video=0)]
    assert np.diff(shown).astype(float) == pytest.approx([0.2] * 7, abs=0.01)


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
@pytest.mark.parametrize("height", [96, 720])
def test_colours_of_a_file_are_what_was_written(height: int, codec: str, tmp_path: Path) -> None:
    """Read by the reader of videos, which goes by tags, and by that of cameras."""
    red, target = np.full((height, 64, 3), (200, 30, 30), np.uint8), tmp_path / "out.mkv"
    sink = open_sink(str(target), codec=codec)
    for number in range(3):
        sink.write(CameraFrame(red, number / 5, number, 0))
    sink.close()
    with VideoSource(target) as source:
        assert next(source.pictures()).pixels.mean((0, 1)) * 255 == pytest.approx([200, 30, 30], abs=3)
    camera = open_camera(str(target), CameraOptions())
    assert camera.read()[0].mean((0, 1)) == pytest.approx([200, 30, 30], abs=3)
    camera.close()


def test_pictures_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.mkv"))
    for number, (height, width) in enumerate([(33, 47), (48, 64)]):
        sink.write(CameraFrame(np.zeros((height, width, 3), np.uint8), float(number), number, number))
    sink.close()
    with av.open(str(tmp_path / "out.mkv")) as made:
        assert {(frame.height, frame.width) for frame in made.decode(video=0)} == {(34, 48)}
