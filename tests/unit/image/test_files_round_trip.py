"""What is written is read back: exact where the format is, same kind of pixels everywhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_files import noise, pillow_bytes, png

from restore_sdk.errors import ImageWriteError
from restore_sdk.image.files import ImageFile, read_image, supported_read_suffixes, supported_write_suffixes, write_image

SHAPES = [(13, 17), (13, 17, 3), (13, 17, 4)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("suffix", "dtype"), [(".png", "uint8"), (".png", "uint16"), (".tif", "uint8"), (".tiff", "uint16"), (".tif", "float32")]
)
def test_png_and_tiff_are_exact(tmp_path: Path, suffix: str, dtype: str, shape: tuple[int, ...]) -> None:
    pixels = noise(*shape, dtype=dtype)
    assert write_image(tmp_path / f"a{suffix}", ImageFile(pixels)) == ()
    read = read_image(tmp_path / f"a{suffix}")
    assert read.pixels.dtype == dtype
    assert np.array_equal(read.pixels, pixels)
    assert read.pixels.flags.c_contiguous


@pytest.mark.parametrize("shape", SHAPES)
def test_bmp_is_exact(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = noise(*shape)
    write_image(tmp_path / "a.bmp", ImageFile(pixels))
    assert np.array_equal(read_image(tmp_path / "a.bmp").pixels, pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pnm_is_exact(tmp_path: Path, dtype: str) -> None:
    gray, colour = noise(5, 7, dtype=dtype), noise(5, 7, 3, dtype=dtype)
    for suffix, pixels in ((".pgm", gray), (".pnm", gray), (".ppm", colour), (".pnm", colour)):
        write_image(tmp_path / f"a{suffix}", ImageFile(pixels))
        assert np.array_equal(read_image(tmp_path / f"a{suffix}").pixels, pixels)
    write_image(tmp_path / "gray.ppm", ImageFile(gray))
    assert np.array_equal(read_image(tmp_path / "gray.ppm").pixels, np.dstack([gray] * 3))


@pytest.mark.parametrize("shape", [(16, 24, 3), (16, 24, 4)])
def test_lossless_webp_stays_lossless(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = noise(*shape)
    (tmp_path / "a.webp").write_bytes(pillow_bytes(pixels, "WEBP", lossless=True, exact=True))
    read = read_image(tmp_path / "a.webp")
    assert read.lossless
    write_image(tmp_path / "b.webp", dataclasses.replace(read, pixels=pixels))
    assert np.array_equal(read_image(tmp_path / "b.webp").pixels, pixels)
    write_image(tmp_path / "c.webp", read, quality=50)
    assert not read_image(tmp_path / "c.webp").lossless


@pytest.mark.parametrize(
    ("suffix", "shape"), [(s, (32, 48, 3)) for s in (".jpg", ".webp", ".avif")] + [(".jpg", (32, 48)), (".avif", (32, 48))]
)
def test_lossy_formats_are_close(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    pixels = np.zeros(shape, np.uint8)
    pixels[:, 24:] = [250, 20, 120] if len(shape) == 3 else 200
    write_image(tmp_path / f"a{suffix}", ImageFile(pixels))
    read = read_image(tmp_path / f"a{suffix}").pixels
    assert read.shape == shape
    # chroma at half resolution would be off by a hundred at the edge; lossy WebP has no other
    assert np.abs(read.astype(np.int16) - pixels).max() <= (40 if suffix == ".webp" else 16)


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_lossy_alpha_stays(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((32, 32, 4), 90, np.uint8)
    pixels[:16, :, 3] = 255
    write_image(tmp_path / f"a{suffix}", ImageFile(pixels))
    assert np.abs(read_image(tmp_path / f"a{suffix}").pixels[..., 3].astype(int) - pixels[..., 3]).max() <= 4


def test_webp_has_no_gray(tmp_path: Path) -> None:
    write_image(tmp_path / "a.webp", ImageFile(np.full((8, 8), 77, np.uint8)))
    read = read_image(tmp_path / "a.webp").pixels
    assert read.shape == (8, 8, 3)
    assert np.ptp(read.astype(int)) <= 2


def test_quality_decides_the_size(tmp_path: Path) -> None:
    image = ImageFile(noise(64, 64, 3))
    for suffix in (".jpg", ".webp", ".avif"):
        sizes = []
        for quality in (20, None, 100):
            write_image(tmp_path / f"a{suffix}", image, quality=quality)
            sizes.append((tmp_path / f"a{suffix}").stat().st_size)
        assert sizes[0] < sizes[1] < sizes[2]


PALETTE = Image.fromarray(noise(6, 9, 3)).quantize(16)


@pytest.mark.parametrize("name", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette_becomes_rgb(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(pillow_bytes(PALETTE, name))
    assert np.array_equal(read_image(tmp_path / "a").pixels, np.asarray(PALETTE.convert("RGB")))


@pytest.mark.parametrize("name", ["PNG", "GIF"])
def test_palette_with_transparency_becomes_rgba(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(pillow_bytes(PALETTE, name, transparency=3))
    pixels = read_image(tmp_path / "a").pixels
    assert pixels.shape == (6, 9, 4)
    assert np.array_equal(pixels[..., 3] == 0, np.asarray(PALETTE) == 3)
    assert np.array_equal(pixels[..., :3][pixels[..., 3] > 0], np.asarray(PALETTE.convert("RGB"))[pixels[..., 3] > 0])


def test_palette_with_graded_transparency(tmp_path: Path) -> None:
    alpha = bytes(range(0, 160, 10))
    (tmp_path / "a").write_bytes(pillow_bytes(PALETTE, "PNG", transparency=alpha))
    assert np.array_equal(read_image(tmp_path / "a").pixels[..., 3], np.frombuffer(alpha, np.uint8)[np.asarray(PALETTE)])


@pytest.mark.parametrize("name", ["PNG", "BMP", "TIFF", "PPM"])
def test_one_bit_becomes_gray(tmp_path: Path, name: str) -> None:
    bits = noise(5, 11) > 127
    (tmp_path / "a").write_bytes(pillow_bytes(Image.fromarray(bits), name))
    assert np.array_equal(read_image(tmp_path / "a").pixels, bits * np.uint8(255))


def test_gray_with_alpha_becomes_rgba(tmp_path: Path) -> None:
    gray, alpha = noise(4, 5), noise(4, 5, seed=1)
    both = Image.merge("LA", (Image.fromarray(gray), Image.fromarray(alpha)))
    for name in ("PNG", "TIFF"):
        (tmp_path / name).write_bytes(pillow_bytes(both, name))
        assert np.array_equal(read_image(tmp_path / name).pixels, np.dstack([gray, gray, gray, alpha]))


def test_two_bit_gray_fills_the_range(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(4, 1, 2, 0, bytes([0, 0b00011011])))
    assert read_image(tmp_path / "a.png").pixels.tolist() == [[0, 85, 170, 255]]


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    pixels = noise(5, 6, 3)
    (tmp_path / "a.jpg").write_bytes(pillow_bytes(pixels, "PNG"))
    read = read_image(tmp_path / "a.jpg")
    assert read.format == "PNG"
    assert np.array_equal(read.pixels, pixels)


def test_suffix_case_and_strided_pixels(tmp_path: Path) -> None:
    pixels = noise(12, 10, 3)
    for view in (pixels[::-2, ::-1], pixels[:, 1:7], pixels.transpose(1, 0, 2), pixels[..., ::-1], pixels[..., :1]):
        before = view.copy()
        write_image(tmp_path / "A.PNG", ImageFile(view))
        assert np.array_equal(read_image(tmp_path / "A.PNG").pixels, view.squeeze())
        assert np.array_equal(view, before)


def test_read_only_pixels_are_written(tmp_path: Path) -> None:
    pixels = noise(6, 5, 3)
    pixels.flags.writeable = False
    for suffix in (".png", ".tif", ".jpg", ".webp", ".bmp"):
        write_image(tmp_path / f"a{suffix}", ImageFile(pixels))
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, pixels)


def test_every_suffix_written_is_one_read(tmp_path: Path) -> None:
    assert supported_write_suffixes() < supported_read_suffixes()
    assert {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".avif", ".bmp", ".ppm", ".pgm"} <= supported_write_suffixes()
    for suffix in sorted(supported_write_suffixes()):
        write_image(tmp_path / f"a{suffix}", ImageFile(noise(4, 4)))
        assert read_image(tmp_path / f"a{suffix}").pixels.shape[:2] == (4, 4)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".bmp"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_deep_pixels_are_refused_by_formats_of_eight_bits(tmp_path: Path, suffix: str, dtype: str) -> None:
    with pytest.raises(ImageWriteError, match=f"cannot hold {dtype} pixels, only uint8; write .*TIFF"):
        write_image(tmp_path / f"a{suffix}", ImageFile(noise(4, 4, 3, dtype=dtype)))
    assert not list(tmp_path.iterdir())


def test_float_is_refused_by_png(tmp_path: Path) -> None:
    with pytest.raises(ImageWriteError, match="PNG cannot hold float32 pixels, only uint8 and uint16; write TIFF"):
        write_image(tmp_path / "a.png", ImageFile(noise(4, 4, dtype="float32")))


@pytest.mark.parametrize("suffix", [".jpg", ".ppm"])
def test_alpha_is_dropped_only_when_opaque(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    write_image(tmp_path / f"a{suffix}", ImageFile(pixels))
    assert read_image(tmp_path / f"a{suffix}").pixels.shape == (4, 4, 3)
    pixels[0, 0, 3] = 254
    with pytest.raises(ImageWriteError, match="cannot hold transparency; write PNG or TIFF"):
        write_image(tmp_path / f"b{suffix}", ImageFile(pixels))


def test_colour_is_refused_by_pgm(tmp_path: Path) -> None:
    with pytest.raises(ImageWriteError, match="PGM cannot hold colour; write PPM"):
        write_image(tmp_path / "a.pgm", ImageFile(noise(4, 4, 3)))
