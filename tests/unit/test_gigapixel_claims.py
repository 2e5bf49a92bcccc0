"""Small files that claim to be enormous, and what is no file at all, are refused at once and leave nothing behind."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from gigapixel_samples import backend, picture, restore

from restore_sdk.errors import ImageError, ImageReadError, ImageWriteError
from restore_sdk.image.big_size import claim_of
from restore_sdk.image.huge import is_huge
from restore_sdk.image.png_chunks import SIGNATURE, make_chunk
from restore_sdk.restorer import Restorer
from restore_sdk.spec import LARGEST_SIDE, ModelSpec

tifffile = pytest.importorskip("tifffile", reason="needs the extra tiff")
pytest.importorskip("imagecodecs", reason="needs the extra tiff")
zarr = pytest.importorskip("zarr", reason="needs the extra tiff")

MOST = (1 << 31) - 1


def png(path: Path, width: int, height: int) -> Path:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (make_chunk(b"IHDR", header), make_chunk(b"IDAT", zlib.compress(bytes(1000))), make_chunk(b"IEND", b""))
    path.write_bytes(SIGNATURE + b"".join(chunks))
    return path


def jpeg(path: Path, width: int, height: int, marker: int = 0xC0) -> Path:
    """A gray JPEG of one block whose frame says something else."""
    data = bytearray(cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 1] = marker
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    path.write_bytes(data)
    return path


def patched(path: Path, width: int, height: int, **form: Any) -> Path:
    """A TIFF of 64x64 pixels whose header says something else."""
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), photometric="minisblack", metadata=None, bigtiff=True, **form)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        claims = {"ImageWidth": width, "ImageLength": height, **({"RowsPerStrip": height} if "rowsperstrip" in form else {})}
        for name, value in claims.items():
            tiff.pages.first.tags[name].overwrite(value, dtype="I")
    return path


@pytest.fixture
def running(small_spec: ModelSpec) -> Restorer:
    return Restorer(backend(small_spec))


@pytest.mark.parametrize("sides", [(MOST, MOST), (10, MOST), (MOST, 10), (LARGEST_SIDE + 1, 1000)], ids=str)
@pytest.mark.parametrize("target", ["out.png", "out.tif", "out.zarr", "out.jpg"])
def test_sides_that_no_image_has(tmp_path: Path, running: Restorer, sides: tuple[int, int], target: str) -> None:
    source = png(tmp_path / "in.png", *sides)
    with pytest.raises(ImageReadError, match=rf"claims {sides[0]}x{sides[1]} pixels, and the limit is 1048576 a side"):
        running.restore_file(source, tmp_path / target)
    assert os.listdir(tmp_path) == ["in.png"]


@pytest.mark.parametrize("target", ["out.png", "out.tif", "out.zarr"])
def test_pixels_that_deflate_cannot_make_of_so_few_bytes(tmp_path: Path, running: Restorer, target: str) -> None:
    source = png(tmp_path / "in.png", 10**6, 10**6)
    with pytest.raises(ImageReadError, match=r"claims 1000000x1000000 pixels, which take 2906976744 bytes or more, and it has"):
        running.restore_file(source, tmp_path / target)
    assert os.listdir(tmp_path) == ["in.png"]


def test_pixels_that_huffman_codes_cannot_make_of_so_few_bytes(tmp_path: Path, running: Restorer) -> None:
    source = jpeg(tmp_path / "in.jpg", 60_000, 8_000)
    with pytest.raises(ImageReadError, match=r"which take 234375 bytes or more"):
        running.restore_file(source, tmp_path / "out.jpg")
    assert claim_of(jpeg(tmp_path / "in.jpg", 60_000, 8_000, marker=0xC9)).least_bytes == 0  # arithmetic codes have no bound


def test_the_emptiest_files_are_not_refused(tmp_path: Path) -> None:
    """Black squares are as small as such files become."""
    black = np.zeros((4000, 4000, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), black, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    cv2.imwrite(str(tmp_path / "a.jpg"), black, [cv2.IMWRITE_JPEG_QUALITY, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    cv2.imwrite(str(tmp_path / "b.jpg"), black, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    for name in ("a.png", "a.jpg", "b.jpg"):
        path = tmp_path / name
        claim = claim_of(path)
        assert (claim.width, claim.height) == (4000, 4000)
        assert 0 < claim.least_bytes < path.stat().st_size
        assert not is_huge(path, path)


TILES = {"tile": (32, 32)}


@pytest.mark.parametrize(
    ("form", "sides", "words"),
    [
        ({}, (2000, 9000), "positions"),
        ({"rowsperstrip": 64}, (2000, 9000), "take 18000000 bytes, and its pieces hold 4096 at most"),
        ({"rowsperstrip": 64, "compression": "deflate"}, (5000, 9000), "take 45000000 bytes, and its pieces hold"),
        (TILES, (2000, 9000), "positions"),
        (TILES, (10, MOST), "1048576 a side"),
        ({**TILES, "compression": "zstd"}, (MOST, 1), "1048576 a side"),
    ],
    ids=["rows", "one strip", "deflate", "tiles", "high", "wide"],
)
def test_tiff_that_claims_more_than_its_pieces_hold(
    tmp_path: Path, running: Restorer, form: dict[str, Any], sides: tuple[int, int], words: str
) -> None:
    source = patched(tmp_path / "in.tif", *sides, **form)
    with pytest.raises(ImageReadError, match=words):
        running.restore_file(source, tmp_path / "out.ome.tif")
    assert os.listdir(tmp_path) == ["in.tif"]


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate", "packbits"])
@pytest.mark.parametrize("tile", [None, (512, 512)], ids=["strips", "tiles"])
def test_black_tiff_is_not_refused(tmp_path: Path, small_spec: ModelSpec, compression: str, tile: tuple[int, int] | None) -> None:
    black = np.zeros((1030, 1050), np.uint8)
    form = {"tile": tile} if tile else {"rowsperstrip": 512}
    tifffile.imwrite(tmp_path / "in.tif", black, photometric="minisblack", compression=compression, metadata=None, **form)
    report = restore(backend(small_spec, lambda batch: batch), tmp_path / "in.tif", tmp_path / "out.tif", core=1024)
    assert (report.width, report.height) == (1050, 1030)


def test_zarr_with_a_side_that_no_image_has(tmp_path: Path, running: Restorer) -> None:
    zarr.create_array(tmp_path / "in.zarr", shape=(10, MOST), chunks=(10, 1000), dtype="uint8")
    with pytest.raises(ImageReadError, match="a side"):
        running.restore_file(tmp_path / "in.zarr", tmp_path / "out.zarr")
    assert os.listdir(tmp_path) == ["in.zarr"]


def test_the_target_is_refused_before_anything_is_planned(
    tmp_path: Path, small_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(*_arguments: object) -> None:
        raise AssertionError("it was planned")

    monkeypatch.setattr("restore_sdk.image.gigapixel.DEFAULT_MAX_PIXELS", 1000)
    monkeypatch.setattr("restore_sdk.gigapixel.plan_cells", planned)
    tifffile.imwrite(tmp_path / "in.tif", picture(90, 70), photometric="rgb", metadata=None)
    with pytest.raises(ImageWriteError, match=r"70x90 pixels do not go into a .png file here; end its name in .tif or .zarr"):
        restore(backend(small_spec), tmp_path / "in.tif", tmp_path / "out.png")
    assert os.listdir(tmp_path) == ["in.tif"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
@pytest.mark.parametrize("target", ["out.png", "out.tif", "out.zarr"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, running: Restorer, target: str) -> None:
    os.mkfifo(tmp_path / "in.png")
    with pytest.raises(ImageError, match="not a regular file"):
        running.restore_file(tmp_path / "in.png", tmp_path / target)
    assert os.listdir(tmp_path) == ["in.png"]
