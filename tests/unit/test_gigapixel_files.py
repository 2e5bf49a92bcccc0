"""What huge files carry beside their pixels, which files are taken, and what is refused with which words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from gigapixel_samples import backend, doubled, left_beside, picture, restore, whole

from restore_sdk.errors import ImageReadError, ImageWriteError, MissingExtraError, OptionsError
from restore_sdk.image.huge import is_huge
from restore_sdk.spec import ModelSpec

tifffile = pytest.importorskip("tifffile", reason="needs the extra tiff")
pytest.importorskip("imagecodecs", reason="needs the extra tiff")
zarr = pytest.importorskip("zarr", reason="needs the extra tiff")

ICC = bytes(16) + b"RGB " + bytes(16) + b"acsp" + bytes(200)
ARTIST, SOFTWARE, GEO_SCALE, ORIENTATION, DPI_X = 315, 305, 33550, 274, 282
TAGS = [(ARTIST, 2, 0, "A. Nonymous", True), (GEO_SCALE, 12, 3, (0.5, 0.5, 0.0), True), (ORIENTATION, 3, 1, 6, True)]


def write(path: Path, image: np.ndarray, **form: Any) -> None:
    tifffile.imwrite(path, image, **{"photometric": "rgb", "metadata": None, "tile": (32, 32), **form})


def carrying(path: Path) -> None:
    write(path, picture(90, 70), resolution=(300, 150), resolutionunit="INCH", iccprofile=ICC, extratags=TAGS, description="moss")


def first_page(path: Path) -> dict[int, Any]:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        return {"compression": page.compression.name, **{tag.code: tag.value for tag in page.tags}}


def test_what_a_tiff_carries_is_kept(tmp_path: Path, small_spec: ModelSpec) -> None:
    carrying(tmp_path / "in.tif")
    restore(backend(small_spec), tmp_path / "in.tif", tmp_path / "out.tif")
    kept, given = first_page(tmp_path / "out.tif"), first_page(tmp_path / "in.tif")
    for code in (ARTIST, GEO_SCALE, ORIENTATION, DPI_X, 283, 296, 34675, 270, 322, 323, "compression"):
        assert kept[code] == given[code]


def test_what_a_tiff_carries_is_stripped_but_for_its_orientation(tmp_path: Path, small_spec: ModelSpec) -> None:
    carrying(tmp_path / "in.tif")
    restore(backend(small_spec), tmp_path / "in.tif", tmp_path / "out.tif", metadata="strip")
    kept = first_page(tmp_path / "out.tif")
    assert {ARTIST, GEO_SCALE, 34675, 270} & kept.keys() == set()
    assert kept[ORIENTATION] == 6


def test_enlarging_changes_the_resolution(tmp_path: Path, small_spec: ModelSpec) -> None:
    carrying(tmp_path / "in.tif")
    report = restore(backend(small_spec, doubled, scale=2), tmp_path / "in.tif", tmp_path / "out.tif")
    kept = first_page(tmp_path / "out.tif")
    assert kept[DPI_X] == (600, 1)
    assert GEO_SCALE not in kept
    assert any("georeference" in notice for notice in report.notices)


def test_jpeg_tiles_stay_jpeg(tmp_path: Path, small_spec: ModelSpec) -> None:
    smooth = cv2.resize(picture(6, 5), (150, 120), interpolation=cv2.INTER_CUBIC)
    write(tmp_path / "in.tif", smooth, compression="jpeg", compressionargs={"level": 95})
    running = backend(small_spec)
    restore(running, tmp_path / "in.tif", tmp_path / "out.tif", quality=98)
    assert first_page(tmp_path / "out.tif")["compression"] == "JPEG"
    expected = whole(running, tifffile.imread(tmp_path / "in.tif")).astype(int)
    assert np.abs(tifffile.imread(tmp_path / "out.tif") - expected).max() < 8


def test_compression_that_cannot_be_kept_is_told(tmp_path: Path, small_spec: ModelSpec) -> None:
    write(tmp_path / "in.tif", picture(90, 70), compression="png")
    report = restore(backend(small_spec), tmp_path / "in.tif", tmp_path / "out.tif")
    assert first_page(tmp_path / "out.tif")["compression"] == "ADOBE_DEFLATE"
    assert any("deflate" in notice for notice in report.notices)


def test_ome_tiff_stays_ome_with_the_size_of_its_pixels(tmp_path: Path, small_spec: ModelSpec) -> None:
    facts = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "in.ome.tif", picture(90, 70), photometric="rgb", ome=True, metadata=facts, tile=(32, 32))
    running = backend(small_spec)
    restore(running, tmp_path / "in.ome.tif", tmp_path / "out.ome.tif")
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tiff:
        assert tiff.is_ome
        assert tiff.series[0].axes == "YXS"
        assert 'PhysicalSizeX="0.25"' in tiff.ome_metadata
        assert 'PhysicalSizeY="0.5"' in tiff.ome_metadata
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.ome.tif"), whole(running, picture(90, 70)))


def test_white_that_is_zero(tmp_path: Path, small_spec: ModelSpec) -> None:
    image = picture(90, 70, 0)
    write(tmp_path / "in.tif", image, photometric="miniswhite")
    running = backend(small_spec)
    restore(running, tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), whole(running, 255 - image))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("channels", [0, 3])
def test_zarr_array(tmp_path: Path, small_spec: ModelSpec, version: int, channels: int) -> None:
    image, running = picture(150, 90, channels, np.uint16), backend(small_spec)
    shape, chunks = image.shape, (32, 48, 3)[: image.ndim]
    given = zarr.create_array(tmp_path / "in.zarr", shape=shape, chunks=chunks, dtype="uint16", zarr_format=version)
    given[:] = image
    given.attrs["stain"] = "none"
    restore(running, tmp_path / "in.zarr", tmp_path / "out.zarr")
    made = zarr.open(tmp_path / "out.zarr", mode="r")
    np.testing.assert_array_equal(made[:], whole(running, image))
    assert (made.chunks, made.compressors, made.metadata.zarr_format) == (given.chunks, given.compressors, version)
    assert dict(made.attrs) == {"stain": "none"}
    assert left_beside(tmp_path / "out.zarr") == []


def test_ome_zarr(tmp_path: Path, small_spec: ModelSpec) -> None:
    image, running = picture(150, 90), backend(small_spec)
    group = zarr.open_group(tmp_path / "in.zarr", mode="w", zarr_format=2)
    axes = [{"name": name, "type": "space"} for name in "tczyx"]
    levels = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1, 0.5, 0.5]}]} for level in (0, 1)
    ]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    for level in (0, 1):
        array = group.create_array(str(level), shape=(1, 3, 1, 150, 90), chunks=(1, 1, 1, 32, 32), dtype="uint8")
        array[0, :, 0] = image.transpose(2, 0, 1)
    restore(running, tmp_path / "in.zarr", tmp_path / "out.zarr")
    made = zarr.open(tmp_path / "out.zarr", mode="r")
    np.testing.assert_array_equal(made["0"][0, :, 0].transpose(1, 2, 0), whole(running, image))
    assert made.attrs["multiscales"][0]["datasets"] == levels[:1]


@pytest.mark.parametrize(("source", "target"), [("in.png", "out.zarr"), ("in.zarr", "out.png"), ("in.tif", "out.zarr")])
def test_from_one_format_to_another(tmp_path: Path, small_spec: ModelSpec, source: str, target: str) -> None:
    image, running = picture(150, 90), backend(small_spec)
    cv2.imwrite(str(tmp_path / "in.png"), image[..., ::-1])
    write(tmp_path / "in.tif", image)
    zarr.create_array(tmp_path / "in.zarr", data=image, chunks=(32, 32, 3))
    restore(running, tmp_path / source, tmp_path / target)
    path = tmp_path / target
    made = zarr.open(path, mode="r")[:] if path.is_dir() else cv2.imread(str(path))[..., ::-1]
    np.testing.assert_array_equal(made, whole(running, image))


def test_zarr_replaced_by_its_result(tmp_path: Path, small_spec: ModelSpec) -> None:
    image, running, path = picture(90, 70), backend(small_spec), tmp_path / "in.zarr"
    zarr.create_array(path, data=image, chunks=(32, 32, 3))
    with pytest.raises(ImageWriteError, match="exists"):
        restore(running, path, path)
    restore(running, path, path, overwrite=True)
    np.testing.assert_array_equal(zarr.open(path, mode="r")[:], whole(running, image))
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.zarr"]


def test_which_files_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restore_sdk.image.huge.HUGE_PIXELS", 90 * 70)
    monkeypatch.setattr("restore_sdk.image.huge.DEFAULT_MAX_PIXELS", 200 * 70)
    for name, height, form in (("small", 90, {}), ("large", 91, {}), ("big", 9, {"bigtiff": True})):
        write(tmp_path / f"{name}.tif", picture(height, 70), **form)
    for name, height in (("small.png", 90), ("large.png", 91), ("large.jpg", 91), ("huge.jpg", 201), ("huge.png", 201)):
        cv2.imwrite(str(tmp_path / name), picture(height, 70))
    zarr.create_array(tmp_path / "a.zarr", data=picture(9, 7))
    (tmp_path / "folder").mkdir()
    whole = ["small.tif out.tif", "large.png out.png", "large.jpg out.tif", "folder out.tif", "missing.tif out.tif"]
    taken = ["small.tif out.ome.tif", "small.png out.zarr", "large.tif out.tif", "big.tif out.png", "large.png out.tif"]
    taken += ["huge.jpg out.tif", "huge.png out.png", "a.zarr out.png"]
    assert [names for names in whole + taken if is_huge(*(tmp_path / name for name in names.split()))] == taken


def test_jpeg_and_png_beyond_the_limit_say_what_works(
    tmp_path: Path, small_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("gigapixel.HUGE_PIXELS", "gigapixel.DEFAULT_MAX_PIXELS"):
        monkeypatch.setattr(f"restore_sdk.image.{module}", 1000)
    cv2.imwrite(str(tmp_path / "in.jpg"), picture(90, 70))
    cv2.imwrite(str(tmp_path / "in.png"), picture(90, 70))
    with pytest.raises(ImageReadError, match=r"JPEG of 6300 pixels.*BigTIFF, OME-TIFF, Zarr"):
        restore(backend(small_spec), tmp_path / "in.jpg", tmp_path / "out.tif")
    with pytest.raises(ImageWriteError, match=r"end its name in .tif or .zarr"):
        restore(backend(small_spec), tmp_path / "in.png", tmp_path / "out.png")


def cut(path: Path, to: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * to)])


@pytest.mark.parametrize("form", [{}, {"compression": "deflate"}, {"tile": None}], ids=["tiles", "compressed", "rows"])
@pytest.mark.parametrize("to", [0.0, 0.001, 0.5, 0.99])
def test_truncated_tiff(tmp_path: Path, small_spec: ModelSpec, form: dict[str, Any], to: float) -> None:
    write(tmp_path / "in.tif", picture(90, 70), **form)
    cut(tmp_path / "in.tif", to)
    with pytest.raises(ImageReadError):
        restore(backend(small_spec), tmp_path / "in.tif", tmp_path / "out.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.parametrize("to", [0.5, 0.9])
def test_truncated_png(tmp_path: Path, small_spec: ModelSpec, to: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restore_sdk.image.gigapixel.HUGE_PIXELS", 1000)
    cv2.imwrite(str(tmp_path / "in.png"), picture(203, 111))
    cut(tmp_path / "in.png", to)
    with pytest.raises(ImageReadError, match="truncated after row"):
        restore(backend(small_spec), tmp_path / "in.png", tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


def test_damaged_tile(tmp_path: Path, small_spec: ModelSpec) -> None:
    write(tmp_path / "in.tif", picture(90, 70), compression="deflate")
    with tifffile.TiffFile(tmp_path / "in.tif") as tiff:
        offset = tiff.pages.first.dataoffsets[4]
    data = bytearray((tmp_path / "in.tif").read_bytes())
    data[offset : offset + 40] = bytes(40)
    (tmp_path / "in.tif").write_bytes(data)
    with pytest.raises(ImageReadError, match=f"byte {offset} is damaged"):
        restore(backend(small_spec), tmp_path / "in.tif", tmp_path / "out.tif")


@pytest.mark.parametrize(
    ("image", "form"),
    [
        (np.zeros((40, 30), np.int16), {"photometric": "minisblack"}),
        (np.zeros((40, 30), np.float64), {"photometric": "minisblack"}),
        (np.zeros((40, 30, 4), np.uint8), {"photometric": "separated"}),
        (np.zeros((40, 30, 2), np.uint8), {"photometric": "minisblack", "planarconfig": "contig"}),
        (np.zeros((40, 30, 4), np.uint8), {"extrasamples": ["assocalpha"]}),
    ],
    ids=["signed", "float64", "CMYK", "two samples", "premultiplied"],
)
def test_pixels_of_other_kinds_are_refused(
    tmp_path: Path, small_spec: ModelSpec, image: np.ndarray, form: dict[str, Any]
) -> None:
    write(tmp_path / "in.tif", image, **form)
    with pytest.raises(ImageReadError, match="save it"):
        restore(backend(small_spec), tmp_path / "in.tif", tmp_path / "out.tif")


def test_one_compressed_strip_of_everything_is_refused(
    tmp_path: Path, small_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restore_sdk.image.big_tiff_reading.LARGEST_PIECE", 10_000)
    write(tmp_path / "in.tif", picture(90, 70), tile=None, rowsperstrip=90, compression="deflate")
    with pytest.raises(ImageReadError, match="save it in tiles"):
        restore(backend(small_spec), tmp_path / "in.tif", tmp_path / "out.tif")


def test_paths_that_cannot_be(tmp_path: Path, small_spec: ModelSpec) -> None:
    running = backend(small_spec)
    write(tmp_path / "in.tif", picture(90, 70))
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.zarr").mkdir()
    (tmp_path / "other.zarr" / "mine.txt").write_text("x")
    for source, words in (("folder", "directory"), ("missing.tif", "no such file")):
        with pytest.raises(ImageReadError, match=words):
            restore(running, tmp_path / source, tmp_path / "out.tif")
    for target, words in (
        ("folder", "directory"),
        ("none/out.tif", "does not exist"),
        ("out.xyz", "suffix"),
        ("other.zarr", "holds"),
    ):
        with pytest.raises(ImageWriteError, match=words):
            restore(running, tmp_path / "in.tif", tmp_path / target)
    with pytest.raises(OptionsError):
        restore(running, tmp_path / "in.tif", tmp_path / "out.tif", metadata="all")
    with pytest.raises(OptionsError):
        restore(running, tmp_path / "in.tif", tmp_path / "out.tif", quality=0)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_may_not_be_written(tmp_path: Path, small_spec: ModelSpec) -> None:
    write(tmp_path / "in.tif", picture(90, 70))
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(ImageWriteError, match="permission denied"):
        restore(backend(small_spec), tmp_path / "in.tif", tmp_path / "locked" / "out.tif")


def test_extra_that_is_missing_is_named(tmp_path: Path, small_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in.tif", picture(90, 70))
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(MissingExtraError, match="tiff"):
        restore(backend(small_spec), tmp_path / "in.tif", tmp_path / "out.tif")
