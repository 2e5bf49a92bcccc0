"""Any region of a huge source has the pixels of the whole file, in any order of reading, with few pieces in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from restore_sdk.errors import ImageReadError
from restore_sdk.image.big_tiff_reading import TiffSource
from restore_sdk.image.big_zarr import ZarrSource
from restore_sdk.image.strip_reading import PngSource

tifffile = pytest.importorskip("tifffile", reason="needs the extra tiff")
pytest.importorskip("imagecodecs", reason="needs the extra tiff")
zarr = pytest.importorskip("zarr", reason="needs the extra tiff")

HEIGHT, WIDTH = 137, 91
IMAGE = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)
REGIONS = [
    (0, 137, 0, 91),
    (100, 137, 80, 91),
    (0, 1, 0, 1),
    (31, 33, 15, 17),
    (136, 137, 90, 91),
    (5, 120, 40, 41),
    (64, 96, 32, 64),
]


def as_tiff(path: Path, **form: Any) -> TiffSource:
    tifffile.imwrite(path, IMAGE, photometric="rgb", metadata=None, **form)
    return TiffSource(path)


def as_png(path: Path, monkeypatch: pytest.MonkeyPatch) -> PngSource:
    monkeypatch.setattr("restore_sdk.image.strip_reading._STRIP_BYTES", 5000)
    path = path.with_suffix(".png")
    cv2.imwrite(str(path), IMAGE[..., ::-1])
    return PngSource(path)


def as_zarr(path: Path) -> ZarrSource:
    zarr.create_array(path, data=np.ascontiguousarray(IMAGE.transpose(2, 0, 1)), chunks=(2, 32, 16))
    return ZarrSource(path)


@pytest.mark.parametrize("kind", ["tiles", "strips", "rows", "one strip", "png", "zarr"])
def test_every_region_is_that_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    made = {
        "tiles": lambda: as_tiff(tmp_path / "a", tile=(32, 16), compression="deflate"),
        "strips": lambda: as_tiff(tmp_path / "a", rowsperstrip=9, compression="zstd", predictor=True),
        "rows": lambda: as_tiff(tmp_path / "a", byteorder=">"),
        "one strip": lambda: as_tiff(tmp_path / "a", rowsperstrip=HEIGHT, compression="lzw"),
        "png": lambda: as_png(tmp_path / "a", monkeypatch),
        "zarr": lambda: as_zarr(tmp_path / "a"),
    }
    source = made[kind]()
    for top, bottom, left, right in REGIONS + REGIONS[::-1]:
        region = source.read(slice(top, bottom), slice(left, right))
        np.testing.assert_array_equal(region, IMAGE[top:bottom, left:right])
    source.close()


def test_only_the_pieces_of_the_last_region_are_kept(tmp_path: Path) -> None:
    source = as_tiff(tmp_path / "a", tile=(16, 16))
    for top in range(0, 120, 5):
        source.read(slice(top, top + 16), slice(20, 36))
        assert len(source._kept) <= 4
    source.close()


def test_missing_tiles_of_a_sparse_file_are_black(tmp_path: Path) -> None:
    tiles = (None if index == 1 else np.full((32, 32, 3), 9, np.uint8) for index in range(4))
    tifffile.imwrite(tmp_path / "a.tif", tiles, shape=(64, 64, 3), dtype=np.uint8, tile=(32, 32), photometric="rgb")
    source = TiffSource(tmp_path / "a.tif")
    region = source.read(slice(0, 64), slice(0, 64))
    assert region[:32, 32:].max() == 0
    assert region[32:].min() == region[:32, :32].min() == 9
    source.close()


@pytest.mark.parametrize("flags", [[cv2.IMWRITE_PNG_BILEVEL, 1]])
def test_png_of_one_bit_is_refused(tmp_path: Path, flags: list[int]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9), np.uint8), flags)
    with pytest.raises(ImageReadError, match=r"1 bits per sample is not read in strips.*BigTIFF"):
        PngSource(tmp_path / "a.png")


def test_interlaced_png_is_refused(tmp_path: Path) -> None:
    import struct

    from restore_sdk.image.png_chunks import SIGNATURE, make_chunk

    header = struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 1)
    (tmp_path / "a.png").write_bytes(
        SIGNATURE + make_chunk(b"IHDR", header) + make_chunk(b"IDAT", b"") + make_chunk(b"IEND", b"")
    )
    with pytest.raises(ImageReadError, match="interlaced"):
        PngSource(tmp_path / "a.png")


def test_png_with_a_damaged_row(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), IMAGE)
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    source = PngSource(tmp_path / "a.png")
    with pytest.raises(ImageReadError):
        source.read(slice(0, HEIGHT), slice(0, WIDTH))
    source.close()
