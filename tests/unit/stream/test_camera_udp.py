"""Sent over UDP to a receiver on this machine that is there from the beginning, or comes later."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest

from restore_sdk.stream.camera import Camera, CameraFrame
from restore_sdk.stream.camera_options import CameraOptions
from restore_sdk.stream.camera_sinks import open_sink

pytest.importorskip("av", reason="needs the extra video")

MANY = 600  # 24 s
OPTIONS = CameraOptions(open_timeout=20.0, read_timeout=20.0)


@pytest.fixture
def udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def picture(number: int) -> CameraFrame:
    """Gray pictures that become lighter, 25 in a second."""
    return CameraFrame(np.full((64, 96, 3), 40 + number // 4, np.uint8), number / 25, number, 0)


@pytest.mark.parametrize("late", [0, 20], ids=["there", "later"])
def test_pushed_to_a_udp_receiver(udp_port: int, late: int) -> None:
    received: list[CameraFrame] = []
    here, enough = threading.Event(), threading.Event()

    def receive() -> None:
        here.wait(20)
        with Camera(f"udp://127.0.0.1:{udp_port}?timeout=20000000", OPTIONS) as camera:
            for frame in camera:
                received.append(frame)
                if len(received) == 5:
                    break
            enough.set()
            assert camera.health().connections == 1

    receiver = threading.Thread(target=receive)
    receiver.start()
    sink = open_sink(f"udp://127.0.0.1:{udp_port}?pkt_size=1316")
    for number in range(MANY):  # nobody has to be there: UDP does not ask
        if number == late:
            here.set()
        if enough.wait(0.04):
            break
        sink.write(picture(number))
    sink.close()
    receiver.join(60)
    assert len(received) == 5
    assert {frame.pixels.shape for frame in received} == {(64, 96, 3)}
    steps = 25 * np.diff([frame.at for frame in received])  # UDP may lose a picture
    np.testing.assert_allclose(steps, np.maximum(1, np.round(steps)), atol=0.05)
    assert 36 <= received[0].pixels.mean() < 40 + MANY // 4
