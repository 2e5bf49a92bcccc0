"""Any folder of images: formats, damage, sizes, and how much memory they may take."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_images import smooth_image

from training.data.folder import DataError, decode, find_images, load_folders


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Usable: b.png, c.jpg, d.tif, e.png (gray), f.png (16 bits), g.png (alpha), sub/h.webp; the others are not."""
    folder = tmp_path / "mixed"
    (folder / "sub").mkdir(parents=True)
    image = smooth_image(0)
    for name in ("b.png", "c.JPG", "d.tif", "sub/h.webp"):
        cv2.imwrite(str(folder / name), image)
    cv2.imwrite(str(folder / "e.png"), image[:, :, 0])
    cv2.imwrite(str(folder / "f.png"), image.astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "g.png"), np.dstack([image, image[:, :, :1] // 2]))
    cv2.imwrite(str(folder / "small.png"), image[:10])
    (folder / "a_empty.png").touch()
    (folder / "damaged.jpg").write_bytes((folder / "c.JPG").read_bytes()[:40])
    (folder / "renamed.png").write_text("not an image")
    (folder / "notes.txt").write_text("skipped without a word")
    return folder


def test_usable_images_are_kept_and_the_rest_is_counted(mixed: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = load_folders([mixed], min_side=16)
    assert [path.name for path in found.paths] == ["b.png", "c.JPG", "d.tif", "e.png", "f.png", "g.png", "h.webp"]
    assert {image.shape for image in found.images} == {(40, 48, 3)}
    assert sorted(path.name for path in found.unreadable) == ["a_empty.png", "damaged.jpg", "renamed.png"]
    assert [path.name for path in found.too_small] == ["small.png"]
    assert caplog.messages == ["skipped 3 unreadable and 1 too small images"]


def test_pixels_are_rgb_at_their_own_depth(mixed: Path) -> None:
    rgb = smooth_image(0)[:, :, ::-1]
    for name in ("b.png", "g.png"):
        assert np.array_equal(decode(mixed / name), rgb)  # type: ignore[arg-type]
    sixteen, gray = decode(mixed / "f.png"), decode(mixed / "e.png")
    assert sixteen is not None
    assert gray is not None
    assert sixteen.dtype == np.uint16
    assert np.array_equal(sixteen, rgb.astype(np.uint16) * 257)
    assert np.array_equal(gray, np.repeat(rgb[:, :, 2:], 3, 2))


def test_images_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth_image(1)).save(tmp_path / "turned.jpg", exif=exif)
    upright = decode(tmp_path / "turned.jpg")
    assert upright is not None
    assert upright.shape == (48, 40, 3)


def test_a_file_that_may_not_be_read_is_unreadable(tmp_path: Path) -> None:
    assert decode(tmp_path / "absent.png") is None


def test_several_folders_come_in_order(photos: Path, mixed: Path) -> None:
    found = load_folders([photos, mixed], min_side=16)
    assert len(found.images) == 13
    assert found.paths[:6] == find_images(photos)


@pytest.mark.parametrize(("make", "message"), [(False, "is not a folder; pass --data"), (True, "holds no image")])
def test_a_missing_or_empty_folder_says_so(tmp_path: Path, make: bool, message: str) -> None:
    folder = tmp_path / "empty"
    if make:
        folder.mkdir()
    with pytest.raises(DataError, match=message):
        load_folders([folder], min_side=16)


def test_no_usable_image_says_what_would_be(photos: Path) -> None:
    with pytest.raises(DataError, match="no usable image of at least 41 pixels a side"):
        load_folders([photos], min_side=41)


def test_images_beyond_the_memory_allowed_are_refused(photos: Path) -> None:
    one = 40 * 48 * 3 * (1 + 4)
    assert len(load_folders([photos], min_side=16, max_bytes=6 * one, bytes_per_value=4).images) == 6
    with pytest.raises(DataError, match=r"first 4 images alone take .* raise it"):
        load_folders([photos], min_side=16, max_bytes=4 * one - 1, bytes_per_value=4)
