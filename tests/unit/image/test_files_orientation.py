"""EXIF orientation: applied exactly once on reading, and said to be done on writing."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from sample_files import exif, pillow_bytes, tiff

from restore_sdk.image.exif import orientation_of, upright_exif
from restore_sdk.image.files import ImageFile, read_image, write_image
from restore_sdk.image.reading import upright
from restore_sdk.image.tiff_tags import read_fields

STORED = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
# Worked out by hand from EXIF 2.32: tag 6 says that the stored first row is the picture's right side, and so on
SEEN = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}
EVERY = pytest.mark.parametrize("orientation", list(SEEN))


@EVERY
def test_pixels_are_turned_upright(orientation: int) -> None:
    turned = upright(STORED, orientation)
    assert turned.tolist() == SEEN[orientation]
    assert turned.flags.c_contiguous


@EVERY
@pytest.mark.parametrize("order", ["<", ">"])
def test_png_with_exif(tmp_path: Path, orientation: int, order: str) -> None:
    (tmp_path / "a.png").write_bytes(pillow_bytes(STORED, "PNG", exif=exif(orientation, order)))
    assert read_image(tmp_path / "a.png").pixels.tolist() == SEEN[orientation]


@EVERY
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiff_is_turned_once_though_opencv_turns_it_itself(tmp_path: Path, orientation: int, dtype: str) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(STORED.astype(dtype), photometric=1, t274=orientation))
    assert read_image(tmp_path / "a.tif").pixels.tolist() == SEEN[orientation]


@EVERY
@pytest.mark.parametrize("name", ["JPEG", "WEBP", "AVIF", "TIFF"])
def test_same_picture_as_pillow_shows(tmp_path: Path, orientation: int, name: str) -> None:
    blocks = np.kron(np.array([[0, 80, 160], [240, 40, 120]], np.uint8), np.ones((16, 16), np.uint8))
    path = tmp_path / "a.img"
    path.write_bytes(pillow_bytes(np.dstack([blocks] * 3), name, exif=exif(orientation)))
    with Image.open(path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.int16)
    read = read_image(path).pixels
    assert read.shape == shown.shape
    assert np.abs(read - shown).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".tif"])
def test_a_second_reading_does_not_turn_again(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a.png").write_bytes(pillow_bytes(np.zeros((20, 30, 3), np.uint8), "PNG", exif=exif(6)))
    first = read_image(tmp_path / "a.png")
    write_image(tmp_path / f"b{suffix}", first)
    second = read_image(tmp_path / f"b{suffix}")
    assert first.pixels.shape == second.pixels.shape == (30, 20, 3)
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.getexif().get(274, 1) == 1
        assert image.getexif()[271] == "Maker"


def test_a_tag_given_for_writing_is_set_to_upright(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", ImageFile(STORED, exif=exif(8)))
    assert read_image(tmp_path / "a.png").pixels.tolist() == STORED.tolist()


@pytest.mark.parametrize("order", ["<", ">"])
def test_only_what_became_untrue_changes(order: str) -> None:
    before = exif(6, order)
    after = upright_exif(before, 48, 64)
    assert after is not None
    assert orientation_of(after) == 1
    assert len(after) == len(before)
    block = Image.Exif()
    block.load(after)
    assert block.get_ifd(34665)[40962] == 64
    assert block.get_ifd(34665)[40963] == 48
    assert block.get_ifd(34665)[33434] == 0.01
    assert sum(a != b for a, b in zip(after, before, strict=True)) == 3  # one byte each: orientation, width, height


def test_thumbnail_goes_only_when_it_would_lie_on_its_side() -> None:
    for orientation, following in ((6, 0), (1, len(exif(1)))):
        block = upright_exif(exif(orientation, thumbnail=True), 2, 1)
        assert block is not None
        assert read_fields(block, 8)[1] == following


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_out_of_range_is_upright(value: int) -> None:
    assert orientation_of(exif(value or None)) == 1
    block = bytearray(exif(6))
    struct.pack_into("<H", block, read_fields(block, 8)[0][274].at, value)
    assert orientation_of(bytes(block)) == 1


def test_resolution_turns_with_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(pillow_bytes(np.zeros((8, 16, 3), np.uint8), "JPEG", dpi=(300, 150), exif=exif(6)))
    assert read_image(tmp_path / "a.jpg").dpi == (150, 300)
