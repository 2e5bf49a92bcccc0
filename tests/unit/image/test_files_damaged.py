"""Files that are no image, or no longer a whole one: each a typed error with its reason, and nothing on the console."""

from __future__ import annotations

import struct
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sample_files import noise, pillow_bytes, png, png_chunk, tiff

from restore_sdk.errors import ImageError, ImageReadError
from restore_sdk.image.files import DEFAULT_MAX_PIXELS, read_image
from restore_sdk.image.quiet import quiet_opencv

SMOOTH = cv2.GaussianBlur(noise(60, 80, 3), (0, 0), 2)
WHOLE = {
    "png": pillow_bytes(SMOOTH, "PNG"),
    "png16": cv2.imencode(".png", noise(60, 80, 3, dtype="uint16"))[1].tobytes(),
    "jpeg": pillow_bytes(SMOOTH, "JPEG"),
    "progressive": pillow_bytes(SMOOTH, "JPEG", progressive=True),
    "webp": pillow_bytes(SMOOTH, "WEBP"),
    "webp lossless": pillow_bytes(SMOOTH, "WEBP", lossless=True),
    "avif": pillow_bytes(SMOOTH, "AVIF"),
    "tiff": pillow_bytes(SMOOTH, "TIFF"),
    "tiff lzw": pillow_bytes(SMOOTH, "TIFF", compression="tiff_lzw"),
    "tiff16": cv2.imencode(".tiff", noise(60, 80, 3, dtype="uint16"))[1].tobytes(),
    "tiff rgba": pillow_bytes(noise(60, 80, 4), "TIFF"),
    "bmp": pillow_bytes(SMOOTH, "BMP"),
    "ppm": pillow_bytes(SMOOTH, "PPM"),
    "gif": pillow_bytes(SMOOTH, "GIF"),
}


def refusal(path: Path, data: bytes | None = None, **options: Any) -> ImageReadError:
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ImageReadError) as caught:
        read_image(path, **options)
    assert caught.value.path == path
    assert caught.value.reason in str(caught.value)
    assert ";" in caught.value.reason  # what is wrong; what to do
    return caught.value


@pytest.mark.parametrize("kind", list(WHOLE))
def test_truncated(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = WHOLE[kind]
    for kept in (len(whole) // 4, len(whole) // 2, len(whole) * 99 // 100, len(whole) - (20 if kind == "gif" else 1)):
        refusal(tmp_path / "a", whole[:kept])
    assert capfd.readouterr() == ("", "")
    (tmp_path / "a").write_bytes(whole)
    assert read_image(tmp_path / "a").pixels.shape[:2] == (60, 80)


def test_truncated_jpeg_with_a_thumbnail_that_is_whole(tmp_path: Path) -> None:
    thumbnail = pillow_bytes(SMOOTH[:16, :16], "JPEG")
    data = pillow_bytes(SMOOTH, "JPEG", exif=b"MM\0*\0\0\0\x08\0\0\0\0\0\0" + thumbnail)
    (tmp_path / "a.jpg").write_bytes(data)
    assert read_image(tmp_path / "a.jpg").pixels.shape == (60, 80, 3)
    assert "truncated" in refusal(tmp_path / "a.jpg", data[:-40]).reason
    assert "truncated" in refusal(tmp_path / "a.jpg", data[:-40] + bytes(40)).reason  # as interrupted downloads leave it


def test_bytes_behind_the_image_do_no_harm(tmp_path: Path) -> None:
    for kind in ("png", "jpeg", "tiff", "bmp", "ppm"):
        (tmp_path / "a").write_bytes(WHOLE[kind] + bytes(100))
        assert read_image(tmp_path / "a").pixels.shape == (60, 80, 3)


def test_png_with_a_wrong_checksum(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    damaged = bytearray(WHOLE["png"])
    damaged[len(damaged) // 2] ^= 1
    assert "wrong checksum in chunk IDAT" in refusal(tmp_path / "a.png", bytes(damaged)).reason
    assert capfd.readouterr() == ("", "")


def test_png_without_its_first_chunk(tmp_path: Path) -> None:
    refusal(tmp_path / "a.png", b"\x89PNG\r\n\x1a\n" + png_chunk(b"IEND", b""))


SIDE = 60_000
TINY_GIF = pillow_bytes(np.zeros((1, 1), np.uint8), "GIF")


def bombs() -> dict[str, bytes]:
    jpeg = bytearray(WHOLE["jpeg"])
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", SIDE, SIDE)
    bmp = bytearray(WHOLE["bmp"])
    bmp[18:26] = struct.pack("<ii", SIDE, SIDE)
    gif = bytearray(TINY_GIF)
    gif[6:10] = struct.pack("<HH", SIDE, SIDE)
    flat = bytearray(tiff(np.zeros((1, 1), np.uint8), photometric=1))
    directory = struct.unpack_from("<I", flat, 4)[0]
    for entry in (0, 1):  # width and height come first
        struct.pack_into("<H", flat, directory + 2 + 12 * entry + 8, SIDE)
    return {
        "png": png(SIDE, SIDE, 8, 2, b"\0"),
        "jpeg": bytes(jpeg),
        "bmp": bytes(bmp),
        "gif": bytes(gif),
        "tiff": bytes(flat),
        "ppm": f"P6 {SIDE} {SIDE} 255\n".encode() + bytes(10),
    }


@pytest.mark.parametrize("kind", list(bombs()))
def test_a_small_file_that_claims_a_huge_image(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    error = refusal(tmp_path / "a", bombs()[kind])
    assert f"{SIDE}x{SIDE} pixels, more than the limit of {DEFAULT_MAX_PIXELS}; pass a larger max_pixels" in error.reason
    assert capfd.readouterr() == ("", "")


def test_without_a_limit_a_bomb_is_still_an_error(tmp_path: Path) -> None:
    for kind in ("png", "ppm"):
        refusal(tmp_path / "a", bombs()[kind], max_pixels=None)


def test_limit_is_inclusive(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(WHOLE["png"])
    assert read_image(tmp_path / "a.png", max_pixels=4800).pixels.shape == (60, 80, 3)
    assert "80x60 pixels, more than the limit of 4799" in refusal(tmp_path / "a.png", max_pixels=4799).reason


def test_size_that_pillow_warns_of_is_read_without_warning(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P4 20000 10000\n" + bytes(2500 * 10000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.ppm").pixels.shape == (10000, 20000)


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "it is empty"),
    (b"hello, this is text", "it is not an image; supported are .apng, .avif"),
    (b"P9 is no format", "not an image"),
    (b"\x89PNG\r\n\x1a\n", "truncated"),
    (b"\xff\xd8\xff\xe0", "truncated"),
    (b"II*\0\x08\0\0\0", "TIFF"),
    (b"II+\0\x08\0\0\0", "no TIFF header"),
    (b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0", "lies outside the 16 bytes"),
    (b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10\xff" + bytes(7), "is cut off"),
    (b"BM", "BMP"),
    (b"GIF89a", "GIF"),
    (b"P6 1", "PPM"),
    (b"P6 0 0 255\n", "PPM"),
    (b"RIFF\x10\0\0\0WEBPVP8 ", "WEBP"),
    (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
])  # fmt: skip
def test_no_image_at_all(tmp_path: Path, data: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path / "a.png", data).reason


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    assert "it is a directory" in refusal(tmp_path).reason
    assert "there is no such file" in refusal(tmp_path / "none.png").reason
    (tmp_path / "dangling.png").symlink_to(tmp_path / "none.png")
    assert "there is no such file" in refusal(tmp_path / "dangling.png").reason
    if sys.platform != "win32":
        import os

        os.mkfifo(tmp_path / "pipe.png")
        assert "it is not a regular file" in refusal(tmp_path / "pipe.png").reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [(PermissionError(13, "Permission denied"), "permission denied"), (OSError(5, "Input/output error"), "Input/output error")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(WHOLE["png"])

    def refuse(*args: object) -> None:
        raise error

    monkeypatch.setattr(Path, "open", refuse)
    assert reason in refusal(tmp_path / "a.png").reason


def test_errors_are_image_errors_and_value_errors(tmp_path: Path) -> None:
    error = refusal(tmp_path / "a.png", b"")
    assert isinstance(error, ImageError)
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("kind", list(WHOLE))
def test_random_damage_gives_an_image_or_a_typed_error(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(sorted(WHOLE).index(kind))
    path = tmp_path / "a"
    for _ in range(40):
        data = bytearray(WHOLE[kind])
        for at in rng.integers(0, min(len(data), 400), 4):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            pixels = read_image(path, max_pixels=1_000_000).pixels
        except ImageReadError as error:
            assert ";" in error.reason  # noqa: PT017 - reading on is as good an outcome
        else:
            assert pixels.dtype in (np.uint8, np.uint16, np.float32)


def test_opencv_gets_its_log_level_back_from_many_threads() -> None:
    before = cv2.utils.logging.getLogLevel()

    def silence() -> None:
        for _ in range(50):
            with quiet_opencv(), quiet_opencv():
                pass

    threads = [threading.Thread(target=silence) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(KeyError), quiet_opencv():
        raise KeyError
    assert cv2.utils.logging.getLogLevel() == before
