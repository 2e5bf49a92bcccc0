"""Calibration images: reproducible textures, or squares from a folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from export.calibration import MOST_IMAGES, calibration, check_folder, texture
from export.errors import ExportError


def test_textures_repeat_and_differ_by_seed() -> None:
    first = texture(3, 40, 64, sigma=25, seed=1)
    assert first.shape == (1, 3, 40, 64)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, texture(3, 40, 64, sigma=25, seed=1))
    assert np.abs(first - texture(3, 40, 64, sigma=25, seed=2)).max() > 0.1


def test_the_noise_has_its_sigma() -> None:
    clean, noisy = (texture(1, 200, 200, sigma=sigma, seed=5) for sigma in (0, 50))
    assert 0 <= clean.min() < clean.max() <= 1
    assert float((noisy - clean).std()) == pytest.approx(50 / 255, rel=0.02)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_the_smallest_textures_are_finite(side: int) -> None:
    assert np.isfinite(texture(3, side, side, sigma=25, seed=0)).all()


def test_a_folder_gives_squares_of_its_images(tmp_path: Path) -> None:
    """Gray, 16-bit and alpha become three planes in [0, 1]; small files and files of another kind are passed over."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((30, 50, 3), 51, np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.full((30, 50), 13107, np.uint16))
    cv2.imwrite(str(tmp_path / "c.png"), np.full((40, 24, 4), 51, np.uint8))
    cv2.imwrite(str(tmp_path / "d_small.png"), np.zeros((23, 50, 3), np.uint8))
    (tmp_path / "e.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("no image either")
    found = calibration(tmp_path, 3, 24)
    assert [image.shape for image in found.images] == [(1, 3, 24, 24)] * 3
    np.testing.assert_allclose(found.images[0], 0.2, atol=1e-6)  # the first gets no noise
    assert [float(image.mean()) for image in found.images] == pytest.approx([0.2] * 3, abs=0.03)
    assert float(found.images[1].std()) == pytest.approx(25 / 255, rel=0.1)
    assert found.origin.startswith("3 images of ")
    assert str(tmp_path.parent) not in found.origin


def test_one_channel_takes_one_plane(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((30, 50, 3), 255, np.uint8))
    assert calibration(tmp_path, 1, 24).images[0].shape == (1, 1, 24, 24)


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    for index in range(MOST_IMAGES + 2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((8, 8, 3), np.uint8))
    assert len(calibration(tmp_path, 3, 8).images) == MOST_IMAGES


def test_where_all_are_too_small_they_are_mirrored(tmp_path: Path) -> None:
    ramp = np.arange(0, 240, 12, dtype=np.uint8)  # 20 values
    cv2.imwrite(str(tmp_path / "a.png"), np.tile(ramp, (30, 1)))
    found = calibration(tmp_path, 1, 24)
    np.testing.assert_allclose(found.images[0][0, 0, 5] * 255, [*ramp, *ramp[:-5:-1]], atol=1e-4)
    assert found.origin.endswith(", mirrored, sigma 0, 25 and 50")


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_images_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for check in (lambda folder: calibration(folder, 3, 24), check_folder):
        with pytest.raises(ExportError, match=r"pass (another --calibration|a) folder"):
            check(tmp_path / name)


@pytest.mark.parametrize("wrong", [255.0, np.nan, -np.inf])
def test_floats_far_from_light_are_refused_by_name(wrong: float, tmp_path: Path) -> None:
    pixels = np.full((30, 30), 0.5, np.float32)
    cv2.imwrite(str(tmp_path / "light.tif"), pixels)
    assert calibration(tmp_path, 1, 24).images[0].mean() == pytest.approx(0.5, abs=0.05)
    pixels[0, 0] = wrong
    cv2.imwrite(str(tmp_path / "odd.tif"), pixels)
    with pytest.raises(ExportError, match=r"odd\.tif has values of .*, expected floats around 0 to 1; scale it"):
        calibration(tmp_path, 1, 24)


def test_networks_that_fill_see_lost_pixels() -> None:
    found = calibration(None, 3, 64)
    assert found.seen_by(None) is found
    lossy = found.seen_by(0.5)
    for image, whole, share in zip(lossy.images, found.images, (0.5, 0.9, 0.95), strict=True):
        lost = (image == 0.5).all(1)
        assert abs(lost.mean() - share) < 0.05
        np.testing.assert_array_equal(np.where(lost[:, None], whole, image), whole)
    assert lossy.origin.endswith("sigma 0, 25 and 50, 50, 90 and 95 % of the pixels lost")
