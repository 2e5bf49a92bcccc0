"""BigTIFF without the extra that reads regions: whole where that can be, and the extra by its name where it cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_files import tiff

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.errors import MissingExtraError
from restore_sdk.image.exif import normalise_exif
from restore_sdk.image.files import read_image
from restore_sdk.image.huge import is_huge
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

SPEC = ModelSpec(name="copy", method="none", task="denoise", receptive_radius=0)
UPRIGHT, UPSIDE_DOWN, ON_ITS_SIDE = 1, 3, 6


def pixels(dtype: str, *channels: int) -> np.ndarray:
    drawn = np.random.default_rng(0).integers(0, 256, (7, 5, *channels))
    return drawn.astype(dtype) if dtype == "uint8" else (drawn / 255).astype(dtype) if dtype == "float32" else drawn.astype(dtype)


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_pixels_are_read_as_they_lie_there(tmp_path: Path, order: str, dtype: str, channels: tuple[int, ...]) -> None:
    image = pixels(dtype, *channels)
    (tmp_path / "a.tif").write_bytes(tiff(image, photometric=2 if channels else 1, order=order, big=True))
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, image)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("orientation", "turns"), [(UPRIGHT, 0), (UPSIDE_DOWN, 2), (ON_ITS_SIDE, -1)])
def test_transparency_is_turned_once_though_pillow_turns_it_itself(
    tmp_path: Path, big: bool, orientation: int, turns: int
) -> None:
    image = pixels("uint8", 4)
    (tmp_path / "a.tif").write_bytes(tiff(image, big=big, t274=orientation, t338=2))
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, np.rot90(image, turns))


def test_its_tags_become_a_classic_block(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(pixels("uint8", 3), big=True, t274=ON_ITS_SIDE, t18246=4))
    exif = read_image(tmp_path / "a.tif").exif
    assert exif is not None
    assert exif[:4] == b"II*\0"
    block = Image.Exif()
    block.load(exif)
    assert block[18246] == 4
    assert normalise_exif(b"II+\0" + exif[4:]) is None


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_it_is_restored_whole(tmp_path: Path) -> None:
    image = pixels("uint8", 3)
    (tmp_path / "a.tif").write_bytes(tiff(image, big=True))
    with Restorer(FunctionBackend(SPEC, np.copy)) as restorer:
        restorer.restore_file(tmp_path / "a.tif", tmp_path / "b.tif")
    assert np.array_equal(read_image(tmp_path / "b.tif").pixels, image)


@pytest.mark.usefixtures("without_extra")
@pytest.mark.parametrize("target", ["b.ome.tif", "b.tif"])
def test_what_cannot_be_read_whole_names_the_extra(tmp_path: Path, target: str) -> None:
    halves = pixels("float16", 3) if target == "b.tif" else pixels("uint8", 3)
    (tmp_path / "a.tif").write_bytes(tiff(halves, big=True))
    assert is_huge(tmp_path / "a.tif", tmp_path / target)
    with Restorer(FunctionBackend(SPEC, np.copy)) as restorer, pytest.raises(MissingExtraError, match="tiff"):
        restorer.restore_file(tmp_path / "a.tif", tmp_path / target)


@pytest.mark.usefixtures("without_extra")
def test_beyond_the_limit_of_whole_images_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(pixels("uint8", 3), big=True))
    assert not is_huge(tmp_path / "a.tif", tmp_path / "b.tif")
    monkeypatch.setattr("restore_sdk.image.huge.DEFAULT_MAX_PIXELS", 34)
    assert is_huge(tmp_path / "a.tif", tmp_path / "b.tif")
