"""Files that OpenCV or Pillow decode to wrong pixels without a word: decoded right here, or refused."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sample_files import noise, pillow_bytes, png, png_chunk, tiff

from restore_sdk.errors import ImageReadError
from restore_sdk.image.files import ImageFile, read_image, write_image


def read(tmp_path: Path, data: bytes) -> NDArray[Any]:
    (tmp_path / "a").write_bytes(data)
    return read_image(tmp_path / "a").pixels


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [0, 3, 4])
def test_tiff_by_hand_is_exact(tmp_path: Path, channels: int, dtype: str, order: str) -> None:
    pixels = noise(*(5, 7, channels)[: 3 if channels else 2], dtype=dtype)
    extra = {"t338": 2} if channels == 4 else {}  # plain alpha: OpenCV multiplies 8-bit colours by it
    assert np.array_equal(read(tmp_path, tiff(pixels, photometric=2 if channels else 1, order=order, **extra)), pixels)


def test_tiff_alpha_that_is_not_declared(tmp_path: Path) -> None:
    pixels = noise(5, 7, 4)
    assert np.array_equal(read(tmp_path, tiff(pixels)), pixels)
    assert np.array_equal(read(tmp_path, tiff(pixels, t338=0)), pixels)


def test_tiff_premultiplied_alpha_is_divided_out(tmp_path: Path) -> None:
    pixels = np.array([[[50, 100, 0, 100], [0, 0, 0, 0]]], np.uint8)
    assert read(tmp_path, tiff(pixels, t338=1))[0, 0].tolist() == [127, 255, 0, 100]
    with pytest.raises(ImageReadError, match="premultiplied alpha is not supported; save it with plain alpha"):
        read(tmp_path, tiff(pixels.astype(np.uint16), t338=1))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_tiff_white_is_zero(tmp_path: Path, dtype: str) -> None:
    pixels = noise(5, 7, dtype=dtype)
    assert np.array_equal(read(tmp_path, tiff(pixels, photometric=0)), np.iinfo(dtype).max - pixels)


def test_tiff_planes(tmp_path: Path) -> None:
    pixels = noise(5, 7, 3)
    assert np.array_equal(read(tmp_path, tiff(pixels, planar=True)), pixels)
    for dtype in ("uint16", "float32"):  # OpenCV scrambles them
        with pytest.raises(ImageReadError, match="separate planes is not supported; save it interleaved"):
            read(tmp_path, tiff(noise(5, 7, 3, dtype=dtype), planar=True))


@pytest.mark.parametrize("dtype", ["uint32", "int16", "int8", "int32", "float16", "float64"])
def test_tiff_of_other_samples_is_refused(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(ImageReadError, match=r"bit.* not supported; convert it to"):
        read(tmp_path, tiff(np.ones((4, 4, 3), dtype)))


def test_tiff_of_other_layouts_is_refused(tmp_path: Path) -> None:
    for pixels, photometric in (
        (noise(4, 4, 2, dtype="uint16"), 1),
        (noise(4, 4, 5), 2),
        (noise(4, 4, 3), 8),
        (noise(4, 4, 4, dtype="uint16"), 5),
    ):
        with pytest.raises(ImageReadError, match="not supported; convert it to"):
            read(tmp_path, tiff(pixels, photometric=photometric))


def test_tiff_cmyk_is_not_taken_for_rgba(tmp_path: Path) -> None:
    cmyk = Image.fromarray(noise(6, 6, 3)).convert("CMYK")
    assert np.array_equal(read(tmp_path, pillow_bytes(cmyk, "TIFF")), np.asarray(cmyk.convert("RGB")))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_compressed(tmp_path: Path, compression: str) -> None:
    for pixels in (noise(40, 30, 3), noise(40, 30, 4), noise(40, 30), noise(40, 30, dtype="uint16")):
        assert np.array_equal(read(tmp_path, pillow_bytes(pixels, "TIFF", compression=compression)), pixels)


@pytest.mark.parametrize("turn", [0, 2])
def test_jpeg_cmyk_and_ycck(tmp_path: Path, turn: int) -> None:
    smooth = cv2.GaussianBlur(noise(48, 48, 3), (0, 0), 3)
    data = bytearray(pillow_bytes(Image.fromarray(smooth).convert("CMYK"), "JPEG", quality=95))
    data[data.index(b"Adobe") + 11] = turn  # Adobe's marker: 0 for CMYK, 2 for YCCK
    with Image.open(io.BytesIO(data)) as image:
        seen = np.asarray(image.convert("RGB"), np.int16)
    assert np.abs(read(tmp_path, bytes(data)) - seen).max() <= 1


def test_jpeg_gray_stays_gray(tmp_path: Path) -> None:
    assert read(tmp_path, pillow_bytes(np.full((16, 16), 99, np.uint8), "JPEG")).shape == (16, 16)


@pytest.mark.parametrize(("depth", "rows", "key", "seen"), [
    (4, bytes([0, 0x3F]), 3, [51, 255]),
    (8, bytes([0, 3, 9]), 3, [3, 9]),
    (16, struct.pack(">xHH", 1000, 9), 1000, [1000, 9]),
])  # fmt: skip
def test_png_gray_with_a_transparent_value(tmp_path: Path, depth: int, rows: bytes, key: int, seen: list[int]) -> None:
    pixels = read(tmp_path, png(2, 1, depth, 0, rows, png_chunk(b"tRNS", struct.pack(">H", key))))
    opaque = 65535 if depth == 16 else 255
    assert pixels.tolist() == [[[seen[0]] * 3 + [0], [seen[1]] * 3 + [opaque]]]


def test_png_deep_colours(tmp_path: Path) -> None:
    rows = struct.pack(">x6H", 1000, 9, 10, 256, 2, 3)
    assert read(tmp_path, png(2, 1, 16, 2, rows)).tolist() == [[[1000, 9, 10], [256, 2, 3]]]
    keyed = png(2, 1, 16, 2, rows, png_chunk(b"tRNS", struct.pack(">3H", 1000, 9, 10)))
    assert read(tmp_path, keyed).tolist() == [[[1000, 9, 10, 0], [256, 2, 3, 65535]]]
    assert read(tmp_path, png(2, 1, 16, 4, struct.pack(">x4H", 7, 9, 8, 5))).tolist() == [[[7, 7, 7, 9], [8, 8, 8, 5]]]


@pytest.mark.parametrize(("data", "seen"), [
    (b"P5 2 1 100\n" + bytes([100, 50]), [[255, 128]]),
    (b"P5 2 1 1023\n" + struct.pack(">HH", 1023, 512), [[65535, 32800]]),
    (b"P5\n# 9 9 9 9\n2 1 # width\n65535\n" + struct.pack(">HH", 1023, 512), [[1023, 512]]),
    (b"P6 1 1 1023\n" + struct.pack(">3H", 1023, 512, 0), [[[65535, 32800, 0]]]),
    (b"P2 2 1 15\n15 3\n", [[255, 51]]),
    (b"P3 1 1 255\n1 2 3\n", [[[1, 2, 3]]]),
    (b"P1 2 1\n1 0\n", [[0, 255]]),
])  # fmt: skip
def test_pnm_is_brought_to_full_scale(tmp_path: Path, data: bytes, seen: list[Any]) -> None:
    assert read(tmp_path, data).tolist() == seen


@pytest.mark.parametrize("name", ["PNG", "WEBP", "AVIF", "GIF", "TIFF"])
def test_first_of_several_pictures_with_a_notice(tmp_path: Path, name: str) -> None:
    first, second = (Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (200, 20))
    (tmp_path / "a").write_bytes(pillow_bytes(first, name, save_all=True, append_images=[second]))
    image = read_image(tmp_path / "a")
    assert image.notices[-1] == "only the first of 2 pictures was read"
    assert np.abs(image.pixels[..., :3].astype(int) - 200).max() <= 2


def test_avif_of_ten_bits_is_brought_to_eight(tmp_path: Path) -> None:
    done, data = cv2.imencode(".avif", np.full((16, 16, 3), 512, np.uint16), [cv2.IMWRITE_AVIF_DEPTH, 10])
    assert done
    (tmp_path / "a.avif").write_bytes(data.tobytes())
    image = read_image(tmp_path / "a.avif")
    assert image.pixels.dtype == np.uint8
    assert np.abs(image.pixels.astype(int) - 128).max() <= 2
    assert image.notices == ("samples of 10 or 12 bits were reduced to 8",)


def test_bmp_with_alpha_as_other_programs_write_it(tmp_path: Path) -> None:
    done, data = cv2.imencode(".bmp", np.array([[[1, 2, 3, 4]]], np.uint8))
    assert done
    assert read(tmp_path, data.tobytes()).tolist() == [[[3, 2, 1, 4]]]


def test_colours_come_as_rgb_from_every_format(tmp_path: Path) -> None:
    orange = np.full((16, 16, 3), (250, 120, 10), np.uint8)
    for name in ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "BMP", "PPM", "GIF"):
        seen = read(tmp_path, pillow_bytes(orange, name))
        assert np.abs(seen[..., :3].astype(int) - orange).max() <= 6, name
    for suffix in (".png", ".jpg", ".tif", ".webp", ".avif", ".bmp", ".ppm"):
        write_image(tmp_path / f"b{suffix}", ImageFile(orange))
        with Image.open(tmp_path / f"b{suffix}") as image:
            assert np.abs(np.asarray(image.convert("RGB"), np.int16) - orange).max() <= 6, suffix


@pytest.mark.parametrize("name", ["PNG", "JPEG"])
@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3)])
def test_black_last_row_is_no_failure(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    pixels = np.zeros(shape, np.uint8)
    assert np.array_equal(read(tmp_path, pillow_bytes(pixels, name)), pixels)


def test_png_whose_pixels_end_early_is_refused(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + bytes([200] * 30) for _ in range(20))
    whole = png(10, 20, 8, 2, rows)
    assert (read(tmp_path, whole) == 200).all()
    for kept in (0, 31 * 7, 31 * 19):
        with pytest.raises(ImageReadError, match="damaged"):
            read(tmp_path, png(10, 20, 8, 2, rows[:kept]))


def test_no_second_image_is_held_while_swapping_colours() -> None:
    import tracemalloc

    from restore_sdk.image.reading import swap_red_and_blue

    pixels = noise(1200, 1000, 3)
    wanted = pixels[..., ::-1].copy()
    tracemalloc.start()
    swap_red_and_blue(pixels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(pixels, wanted)
    assert peak < pixels.nbytes / 2


@pytest.mark.parametrize(
    ("mode", "suffix", "notice"),
    [
        ("P", "png", "palette"),
        ("P", "gif", "palette"),
        ("LA", "png", "gray with transparency"),
        ("1", "png", "1-bit"),
        ("1", "tiff", "1-bit"),
        ("CMYK", "jpeg", "CMYK"),
        ("RGB", "png", None),
        ("L", "jpeg", None),
    ],
)
def test_a_changed_kind_of_pixels_is_told(tmp_path: Path, mode: str, suffix: str, notice: str | None) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(8, 9, 3)).convert(mode).save(path)
    notices = read_image(path).notices
    assert [notice in told for told in notices] == ([True] if notice else [])
