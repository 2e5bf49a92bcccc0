"""Region by region, the pixels are those of whole-image inference, whatever the format, the type of pixels and the tiles."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from gigapixel_samples import CORE, backend, doubled, left_beside, picture, restore, whole

from restore_sdk.errors import DeviceMemoryError, ImageShapeError, ImageValueError, TilingError
from restore_sdk.gigapixel_cells import network_of, plan_cells
from restore_sdk.host_images import HostImages
from restore_sdk.image.big_facts import BigFacts
from restore_sdk.options import TileOptions
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

tifffile = pytest.importorskip("tifffile", reason="needs the extra tiff")
pytest.importorskip("imagecodecs", reason="needs the extra tiff")

FORMS: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (32, 32), "compression": "deflate", "predictor": True},
    "tiles that are not square": {"tile": (16, 48), "compression": "lzw"},
    "BigTIFF": {"tile": (64, 64), "bigtiff": True, "compression": "zstd"},
    "strips": {"rowsperstrip": 7, "compression": "packbits"},
    "plain rows": {},
    "big-endian rows": {"byteorder": ">"},
    "separate planes": {"planarconfig": "separate", "tile": (32, 32)},
}


def write(path: Path, image: np.ndarray, **form: Any) -> None:
    form = {"photometric": "minisblack" if image.ndim == 2 else "rgb", "metadata": None, **form}
    if image.ndim == 3 and image.shape[2] == 4:
        form["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(path, image.transpose(2, 0, 1) if form.get("planarconfig") == "separate" else image, **form)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_tiff(tmp_path: Path, small_spec: ModelSpec, form: dict[str, Any]) -> None:
    running, image = backend(small_spec), picture(181, 203)
    write(tmp_path / "in.tif", image, **form)
    report = restore(running, tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), whole(running, image))
    assert report.tiles > 4
    assert left_beside(tmp_path / "out.tif") == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
@pytest.mark.parametrize("channels", [0, 3, 4])
def test_every_kind_of_pixels(tmp_path: Path, small_spec: ModelSpec, dtype: Any, channels: int) -> None:
    running, image = backend(small_spec), picture(150, 90, channels, dtype)
    write(tmp_path / "in.tif", image, tile=(32, 32), compression="deflate", predictor=dtype != np.float16)
    restore(running, tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), whole(running, image))


@pytest.mark.parametrize("size", [(1, 1), (16, 300), (300, 16), (64, 64), (65, 129), (127, 63)])
def test_every_size(tmp_path: Path, small_spec: ModelSpec, size: tuple[int, int]) -> None:
    running, image = backend(small_spec), picture(*size)
    write(tmp_path / "in.tif", image, tile=(16, 16))
    restore(running, tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), whole(running, image))


@pytest.mark.parametrize("channels", [0, 3])
def test_enlarged_twice(tmp_path: Path, small_spec: ModelSpec, channels: int) -> None:
    running, image = backend(small_spec, doubled, scale=2), picture(131, 77, channels)
    write(tmp_path / "in.tif", image, tile=(32, 32))
    report = restore(running, tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), whole(running, image))
    assert (report.height, report.width) == (262, 154)


def test_opaque_alpha_stays_opaque_when_enlarged(tmp_path: Path, small_spec: ModelSpec) -> None:
    running, image = backend(small_spec, doubled, scale=2), picture(131, 77, 4)
    image[..., 3] = 255
    write(tmp_path / "in.tif", image, tile=(32, 32))
    restore(running, tmp_path / "in.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), whole(running, image))


@pytest.mark.parametrize("channels", [0, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_in_strips(tmp_path: Path, small_spec: ModelSpec, channels: int, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restore_sdk.image.gigapixel.HUGE_PIXELS", 1000)
    monkeypatch.setattr("restore_sdk.image.strip_reading._STRIP_BYTES", 4000)
    running, image = backend(small_spec), picture(203, 111, channels, dtype)
    cv2.imwrite(str(tmp_path / "in.png"), image[..., [2, 1, 0, 3][:channels]] if channels else image)
    restore(running, tmp_path / "in.png", tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), whole(running, image))


def test_out_of_memory_in_the_middle(tmp_path: Path, small_spec: ModelSpec) -> None:
    plain, image, calls = backend(small_spec), picture(150, 203), []
    write(tmp_path / "in.tif", image, tile=(32, 32))

    def tight(batch: np.ndarray) -> np.ndarray:
        calls.append(batch.shape)
        if len(calls) > 2 and batch.shape[2] * batch.shape[3] > 50 * 50:
            raise DeviceMemoryError(None, None, batch.shape[2:])
        return plain.infer(batch)

    running = backend(small_spec, tight)
    host = HostImages(running.spec)
    for name in ("first", "second"):  # the second knows the size from the start
        restore(running, tmp_path / "in.tif", tmp_path / f"{name}.tif", host=host)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"{name}.tif"), whole(plain, image))
    assert host.recovery.known is not None
    assert host.recovery.known.start == CORE


def test_network_of_one_channel_takes_gray_alone(tmp_path: Path, small_spec: ModelSpec) -> None:
    running, image = backend(small_spec, channels=1), picture(90, 70, 0)
    write(tmp_path / "gray.tif", image)
    restore(running, tmp_path / "gray.tif", tmp_path / "out.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), whole(running, image))
    write(tmp_path / "colour.tif", picture(90, 70))
    with pytest.raises(ImageShapeError):
        restore(running, tmp_path / "colour.tif", tmp_path / "out2.tif")


def test_not_a_number_is_refused_wherever_it_is(tmp_path: Path, small_spec: ModelSpec) -> None:
    image = picture(150, 90, 3, np.float32)
    image[140, 80, 1] = np.nan
    write(tmp_path / "in.tif", image, tile=(32, 32))
    with pytest.raises(ImageValueError) as caught:
        restore(backend(small_spec), tmp_path / "in.tif", tmp_path / "out.tif")
    assert caught.value.count == 1
    assert not (tmp_path / "out.tif").exists()


def test_network_that_reads_the_whole_image_is_refused(tmp_path: Path, small_spec: ModelSpec) -> None:
    write(tmp_path / "in.tif", picture(150, 90))
    with pytest.raises(TilingError):
        restore(backend(small_spec, global_ops=("pool",), receptive_radius=None), tmp_path / "in.tif", tmp_path / "out.tif")
    assert left_beside(tmp_path / "out.tif") == []


@pytest.mark.parametrize("side", [5_000, 50_000, 100_000])
@pytest.mark.parametrize("tile", [(256, 256), (512, 512), (1000, 1000), (240, 96)])
def test_cells_cover_the_image_and_are_bounded(small_spec: ModelSpec, side: int, tile: tuple[int, int]) -> None:
    running = backend(small_spec, receptive_radius=31, bytes_per_pixel=470.0)
    facts = BigFacts(format="TIFF", height=side, width=side - 1, channels=3, dtype=np.dtype(np.uint8), tile=tile, tiled=True)
    plan, grid = plan_cells(facts, network_of(running, HostImages(running.spec)), TileOptions())
    for spans, length, tile_side in ((plan.rows, side, grid[0]), (plan.columns, side, grid[1])):
        assert [span.core_start for span in spans[1:]] == [span.core_stop for span in spans[:-1]]
        assert spans[0].core_start == 0
        assert spans[-1].core_stop == length
        assert all(span.core_start % tile_side == 0 and span.outer_start % 4 == 0 for span in spans)
        assert all(span.outer_start <= max(0, span.core_start - 32) for span in spans)
        assert all(span.outer_stop >= min(length, span.core_stop + 32) for span in spans)
        assert len({span.outer for span in spans}) == 1
    height, width = plan.largest_tile
    assert height * width * 470 <= 256 * 2**20
    assert grid[0] % 16 == grid[1] % 16 == 0


@pytest.mark.parametrize("form", [{"tile": (32, 32)}, {"rowsperstrip": 8}], ids=["tiles", "strips"])
def test_memory_does_not_grow_with_the_height(tmp_path: Path, small_spec: ModelSpec, form: dict[str, Any]) -> None:
    running, peaks = backend(small_spec), []
    for height in (200, 1600):
        path = tmp_path / f"{height}.tif"
        write(path, picture(height, 120), compression="deflate", **form)
        restore(running, path, tmp_path / "warm.tif", overwrite=True)
        tracemalloc.start()
        restore(running, path, tmp_path / "out.tif", overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    image = 200 * 120 * 3
    assert peaks[1] - peaks[0] < image  # seven such images more were restored; the list of the tiles grows a little


def test_the_restorer_knows_the_cells_afterwards(tmp_path: Path, small_spec: ModelSpec) -> None:
    tifffile.imwrite(tmp_path / "in.ome.tif", picture(90, 70), photometric="rgb", tile=(32, 32))
    with Restorer(backend(small_spec), tile=32) as restorer:
        report = restorer.restore_file(tmp_path / "in.ome.tif", tmp_path / "out.ome.tif")
        plan: Any = restorer.report()["last_plan"]
    assert plan["tiles"] == report.tiles > 1
