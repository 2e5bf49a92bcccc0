"""EXIF, colour profiles and resolution: kept where the format has a place for them, and said where it has none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sample_files import SRGB, exif, icc_for, noise, pillow_bytes, png, png_chunk, tiff

from restore_sdk.image.exif import normalise_exif
from restore_sdk.image.files import ImageFile, read_image, write_image

KEEPS_ALL = [".png", ".jpg", ".tif", ".webp", ".avif"]


def tags(path: Path) -> tuple[object, ...]:
    """What another library reads: maker, exposure time, latitude reference."""
    with Image.open(path) as image:
        block = image.getexif()
        return block.get(271), block.get_ifd(34665).get(33434), block.get_ifd(34853).get(1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", KEEPS_ALL)
def test_exif_and_profile_are_kept(tmp_path: Path, suffix: str, order: str) -> None:
    image = ImageFile(noise(8, 9, 3), exif=exif(1, order), icc=SRGB)
    assert write_image(tmp_path / f"a{suffix}", image) == ()
    assert tags(tmp_path / f"a{suffix}") == ("Maker", 0.01, "N")
    read = read_image(tmp_path / f"a{suffix}")
    assert read.icc == SRGB
    write_image(tmp_path / f"b{suffix}", dataclasses.replace(read, pixels=noise(8, 9, 3, seed=1)))
    assert tags(tmp_path / f"b{suffix}") == ("Maker", 0.01, "N")
    with Image.open(tmp_path / f"b{suffix}") as again:
        assert again.info["icc_profile"] == SRGB


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", "uint16"), (".tif", "uint16"), (".tif", "float32")])
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (7, 5, 4)])
def test_deep_pixels_keep_their_metadata_and_stay_exact(tmp_path: Path, suffix: str, dtype: str, shape: tuple[int, ...]) -> None:
    icc = icc_for(b"GRAY") if len(shape) == 2 else SRGB
    pixels = noise(*shape, dtype=dtype)
    path = tmp_path / f"a{suffix}"
    assert write_image(path, ImageFile(pixels, exif=exif(), icc=icc, dpi=(300, 150))) == ()
    read = read_image(path)
    assert np.array_equal(read.pixels, pixels)
    assert read.icc == icc
    assert read.dpi == pytest.approx((300, 150), abs=0.02)
    block = Image.Exif()
    block.load(read.exif)
    assert (block[271], block.get_ifd(34665)[33434], block.get_ifd(34853)[1]) == ("Maker", 0.01, "N")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_resolution_is_kept(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, ImageFile(noise(6, 6, 3), dpi=(300, 150)))
    with Image.open(path) as image:
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    first = read_image(path)
    write_image(path, first)
    assert read_image(path).dpi == first.dpi == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_no_resolution_is_made_up(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"a{suffix}", ImageFile(noise(6, 6, 3)))
    assert read_image(tmp_path / f"a{suffix}").dpi is None


def test_resolution_in_centimetres(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(pillow_bytes(noise(4, 4), "TIFF", resolution_unit=3, x_resolution=100, y_resolution=50))
    assert read_image(tmp_path / "a.tif").dpi == pytest.approx((254, 127))


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    image = ImageFile(noise(4, 4, 3), exif=exif(), icc=SRGB, dpi=(72, 72))
    assert write_image(tmp_path / "a.bmp", image) == (
        "EXIF is not kept: BMP cannot hold it",
        "the colour profile is not kept: BMP cannot hold it",
    )
    assert len(write_image(tmp_path / "a.ppm", image)) == 3
    assert write_image(tmp_path / "a.webp", image) == ("the resolution is not kept: WebP cannot hold it",)


def test_exif_too_long_for_jpeg(tmp_path: Path) -> None:
    block = Image.Exif()
    block[270] = "x" * 70_000
    image = ImageFile(noise(4, 4, 3), exif=block.tobytes())
    assert write_image(tmp_path / "a.jpg", image) == ("EXIF is not kept: JPEG cannot hold it",)
    assert write_image(tmp_path / "a.png", image) == ()
    assert read_image(tmp_path / "a.png").exif is not None


def test_damaged_exif_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    for damaged in (b"nonsense", b"II*\0\xff\xff\xff\xff", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff"):
        assert write_image(path, ImageFile(noise(4, 4, 3), exif=damaged)) == ("EXIF is not kept: it is damaged",)
        path.write_bytes(pillow_bytes(noise(4, 4, 3), "JPEG", exif=damaged))
        assert read_image(path).exif is None
    assert normalise_exif(b"") is None


@pytest.mark.parametrize("kept", range(8, 136, 8))
def test_exif_cut_anywhere_warns_nobody(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.jpg"
    for order in "<>":
        path.write_bytes(pillow_bytes(noise(4, 4, 3), "JPEG", exif=exif(6, order)[:kept]))
        read = read_image(path)
        for suffix in KEEPS_ALL:
            write_image(tmp_path / f"b{suffix}", read)


def test_cmyk_profile_goes_with_the_cmyk_pixels(tmp_path: Path) -> None:
    cmyk = Image.fromarray(noise(16, 16, 3)).convert("CMYK")
    for name in ("JPEG", "TIFF"):
        (tmp_path / name).write_bytes(pillow_bytes(cmyk, name, icc_profile=icc_for(b"CMYK")))
        read = read_image(tmp_path / name)
        assert read.pixels.shape == (16, 16, 3)
        assert read.icc is None
        assert any("colour profile was dropped" in notice for notice in read.notices)


def test_gray_profile_stays_with_gray_only(tmp_path: Path) -> None:
    image = ImageFile(noise(8, 8), icc=icc_for(b"GRAY"))
    for suffix in (".png", ".jpg", ".tif", ".avif"):
        assert write_image(tmp_path / f"a{suffix}", image) == ()
        assert read_image(tmp_path / f"a{suffix}").icc == image.icc
    assert write_image(tmp_path / "a.webp", image) == ("the colour profile is not kept: it is not for RGB pixels",)
    assert write_image(tmp_path / "b.png", ImageFile(noise(8, 8), icc=SRGB)) == (
        "the colour profile is not kept: it is not for gray pixels",
    )


def test_large_profile_in_jpeg(tmp_path: Path) -> None:
    large = SRGB + bytes(noise(200_000))
    write_image(tmp_path / "a.jpg", ImageFile(noise(4, 4, 3), icc=large))
    assert read_image(tmp_path / "a.jpg").icc == large


ONE_PIXEL = (1, 1, 8, 2, bytes([0, 1, 2, 3]))


def test_png_exif_behind_the_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(2, 1, 8, 0, bytes([0, 1, 2]), after=png_chunk(b"eXIf", exif(6))))
    read = read_image(tmp_path / "a.png")
    assert read.pixels.tolist() == [[1], [2]]
    assert read.exif is not None


@pytest.mark.parametrize("packed", [False, True])
def test_png_exif_as_imagemagick_writes_it(tmp_path: Path, packed: bool) -> None:
    text = f"\nexif\n{len(exif(6)) + 6:8d}\n{(b'Exif' + bytes(2) + exif(6)).hex()}\n"
    info = PngInfo()
    info.add_text("Raw profile type exif", text, zip=packed)
    (tmp_path / "a.png").write_bytes(pillow_bytes(np.array([[1, 2]], np.uint8), "PNG", pnginfo=info))
    read = read_image(tmp_path / "a.png")
    assert read.pixels.tolist() == [[1], [2]]
    assert read.exif is not None
    assert read.exif[:4] == b"II*\0"


def test_png_colour_chunks_go_from_png_to_png(tmp_path: Path) -> None:
    gamma = png_chunk(b"gAMA", (100_000).to_bytes(4, "big"))
    (tmp_path / "a.png").write_bytes(png(*ONE_PIXEL, gamma))
    write_image(tmp_path / "b.png", read_image(tmp_path / "a.png"))
    assert gamma in (tmp_path / "b.png").read_bytes()


def test_damaged_png_profile_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(*ONE_PIXEL, png_chunk(b"iCCP", b"x\0\0not deflate")))
    assert read_image(tmp_path / "a.png").icc is None


def test_tiff_tags_of_storage_do_not_travel(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(pillow_bytes(noise(64, 64), "TIFF", exif=exif()))
    block = Image.Exif()
    read = read_image(tmp_path / "a.tif")
    block.load(read.exif)
    assert set(block) == {271, 34665, 34853}
    assert tags(tmp_path / "a.tif") == ("Maker", 0.01, "N")


def test_plain_tiff_has_no_exif(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(noise(3, 4), photometric=1))
    assert read_image(tmp_path / "a.tif").exif is None


def test_xmp_is_said_to_be_left(tmp_path: Path) -> None:
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    (tmp_path / "a.jpg").write_bytes(pillow_bytes(noise(4, 4, 3), "JPEG", xmp=packet))
    (tmp_path / "a.webp").write_bytes(pillow_bytes(noise(4, 4, 3), "WEBP", xmp=packet))
    (tmp_path / "a.png").write_bytes(pillow_bytes(noise(4, 4, 3), "PNG", pnginfo=info))
    for name in ("a.jpg", "a.webp", "a.png"):
        assert read_image(tmp_path / name).notices == ("XMP metadata is not kept",)


def test_alpha_in_tiff_is_declared(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", ImageFile(noise(4, 4, 4)))
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == "RGBA"
        assert image.tag_v2[338] == (2,)


def test_an_image_can_be_stripped(tmp_path: Path) -> None:
    image = ImageFile(noise(4, 4, 3), exif=exif(), icc=SRGB, dpi=(72, 72))
    write_image(tmp_path / "a.jpg", ImageFile(image.pixels))
    read = read_image(tmp_path / "a.jpg")
    assert (read.exif, read.icc, read.dpi) == (None, None, None)
