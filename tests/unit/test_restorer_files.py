"""Files in, files out, through one Restorer."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from restore_sdk.errors import ImageReadError, ImageWriteError, OptionsError
from restore_sdk.image.files import ImageFile, read_image, write_image
from restore_sdk.image_files import FileReport
from restore_sdk.restorer import Restorer


def pixels_of(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    path = tmp_path / "noisy.png"
    write_image(path, ImageFile(pixels_of(37, 50, 3), dpi=(300.0, 300.0)))
    return path


def folder_of(path: Path) -> list[str]:
    return sorted(child.name for child in path.parent.iterdir())


def test_report_and_pixels(restorer: Restorer, noisy: Path) -> None:
    target = noisy.with_name("restored.png")
    report = restorer.restore_file(str(noisy), target, tile=16)
    assert dataclasses.replace(report, seconds=0.0) == FileReport(noisy, target, width=50, height=37, tiles=12, seconds=0.0)
    assert report.seconds > 0
    np.testing.assert_array_equal(read_image(target).pixels, restorer(read_image(noisy).pixels, tile=None))
    assert folder_of(noisy) == ["noisy.png", "restored.png"]


@pytest.mark.parametrize(
    ("suffix", "dtype", "shape"), [(".png", "uint16", (20, 21)), (".tif", "uint16", (20, 21, 4)), (".png", "uint8", (9, 8))]
)
def test_depth_gray_and_alpha_stay(restorer: Restorer, tmp_path: Path, suffix: str, dtype: str, shape: tuple[int, ...]) -> None:
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    pixels = pixels_of(*shape, dtype=dtype)
    write_image(source, ImageFile(pixels))
    restorer.restore_file(source, target)
    np.testing.assert_array_equal(read_image(target).pixels, restorer(pixels))


def test_bgr_constructor_leaves_files_alone(small_model: Path, restorer: Restorer, noisy: Path) -> None:
    with Restorer(small_model, device="cpu", threads=1, channel_order="bgr") as bgr:
        bgr.restore_file(noisy, noisy.with_name("b.png"))
    np.testing.assert_array_equal(read_image(noisy.with_name("b.png")).pixels, restorer(read_image(noisy).pixels))


def test_float_files_are_clipped_as_the_constructor_says(small_model: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).normal(0.5, 1, (16, 16, 3)).astype(np.float32)
    write_image(tmp_path / "a.tif", ImageFile(pixels))
    for clip in (True, False):
        with Restorer(small_model, device="cpu", threads=1, clip=clip) as restorer:
            restorer.restore_file(tmp_path / "a.tif", tmp_path / f"{clip}.tif")
    assert read_image(tmp_path / "True.tif").pixels.max() == 1
    assert read_image(tmp_path / "False.tif").pixels.max() > 1


@pytest.mark.parametrize(("metadata", "dpi"), [("keep", (300, 300)), ("strip", None)])
def test_metadata_is_kept_or_stripped(restorer: Restorer, noisy: Path, metadata: str, dpi: tuple[int, int] | None) -> None:
    target = noisy.with_name("restored.png")
    restorer.restore_file(noisy, target, metadata=metadata)
    kept = read_image(target).dpi
    assert (kept and tuple(round(value) for value in kept)) == dpi


def test_what_is_left_behind_is_said(restorer: Restorer, noisy: Path) -> None:
    report = restorer.restore_file(noisy, noisy.with_name("restored.ppm"))
    assert any("resolution is not kept" in notice for notice in report.notices)


def test_existing_target_needs_overwrite(restorer: Restorer, noisy: Path) -> None:
    target = noisy.with_name("restored.png")
    target.write_bytes(b"precious")
    with pytest.raises(ImageWriteError, match="overwrite=True"):
        restorer.restore_file(noisy, target)
    assert target.read_bytes() == b"precious"
    restorer.restore_file(noisy, target, overwrite=True)
    assert read_image(target).pixels.shape == (37, 50, 3)


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_source_as_target_needs_overwrite(restorer: Restorer, noisy: Path, link) -> None:
    target = noisy if link is None else noisy.with_name("same.png")
    if link is not None:
        link(noisy, target)
    before, expected = noisy.read_bytes(), restorer(read_image(noisy).pixels)
    with pytest.raises(ImageWriteError, match="it is the source itself"):
        restorer.restore_file(noisy, target)
    assert noisy.read_bytes() == before
    restorer.restore_file(noisy, target, overwrite=True)
    np.testing.assert_array_equal(read_image(target).pixels, expected)


@pytest.mark.parametrize("content", [b"", b"junk", b"\x89PNG\r\n\x1a\n"])
def test_unreadable_source_leaves_nothing(restorer: Restorer, tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(content)
    with pytest.raises(ImageReadError):
        restorer.restore_file(source, tmp_path / "b.png")
    assert folder_of(source) == ["a.png"]


def test_missing_source_and_directory(restorer: Restorer, tmp_path: Path) -> None:
    with pytest.raises(ImageReadError):
        restorer.restore_file(tmp_path / "gone.png", tmp_path / "b.png")
    with pytest.raises(ImageReadError):
        restorer.restore_file(tmp_path, tmp_path / "b.png")


@pytest.mark.parametrize("name", ["gone/b.png", "", "b", "b.xyz"])
def test_impossible_targets_are_refused_before_the_work(restorer: Restorer, noisy: Path, name: str) -> None:
    done = []
    with pytest.raises(ImageWriteError):
        restorer.restore_file(noisy, noisy.parent / name, on_tile=lambda *tiles: done.append(tiles))
    assert done == []


@pytest.mark.parametrize(("dtype", "channels", "says"), [("uint16", 3, "JPEG cannot hold uint16"), ("uint8", 4, "alpha")])
def test_format_that_cannot_hold_the_pixels_is_refused_before_the_work(
    restorer: Restorer, tmp_path: Path, dtype: str, channels: int, says: str
) -> None:
    done = []
    write_image(tmp_path / "a.png", ImageFile(pixels_of(20, 20, channels, dtype=dtype)))
    with pytest.raises(ImageWriteError, match=says):
        restorer.restore_file(tmp_path / "a.png", tmp_path / "b.jpg", on_tile=lambda *tiles: done.append(tiles))
    assert done == []


def test_unknown_metadata_choice(restorer: Restorer, noisy: Path) -> None:
    with pytest.raises(OptionsError, match="metadata='some', expected 'keep' or 'strip'"):
        restorer.restore_file(noisy, noisy.with_name("b.png"), metadata="some")


def test_an_interrupt_leaves_the_old_target(restorer: Restorer, noisy: Path) -> None:
    target = noisy.with_name("restored.png")
    target.write_bytes(b"precious")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restorer.restore_file(noisy, target, overwrite=True, on_tile=stop)
    assert target.read_bytes() == b"precious"
    assert folder_of(noisy) == ["noisy.png", "restored.png"]


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("n" * 300 + ".png", "b.png", ImageReadError),
        ("null\0.png", "b.png", ImageReadError),
        ("a.png", "null\0.png", ImageWriteError),
        ("a.png", "n" * 300 + ".png", ImageWriteError),
    ],
    ids=["long source", "null source", "null target", "long target"],
)
def test_names_that_no_file_can_have(
    source: str, target: str, error: type[Exception], restorer: Restorer, tmp_path: Path
) -> None:
    write_image(tmp_path / "a.png", ImageFile(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(error, match="; "):
        restorer.restore_file(tmp_path / source, tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_callback_that_raises_leaves_the_old_target_and_a_usable_restorer(
    error: type[BaseException], restorer: Restorer, tmp_path: Path
) -> None:
    def stop(_done: int, _total: int) -> None:
        raise error

    source, target = tmp_path / "a.png", tmp_path / "b.png"
    write_image(source, ImageFile(np.zeros((40, 40, 3), np.uint8)))
    target.write_bytes(b"old")
    with pytest.raises(error):
        restorer.restore_file(source, target, overwrite=True, tile=16, on_tile=stop)
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    assert restorer.restore_file(source, target, overwrite=True, tile=16).tiles > 1


@pytest.mark.parametrize("quality", [0, 101, True, 9.5, "high"])
def test_wrong_quality_is_refused_before_anything_is_read(restorer: Restorer, tmp_path: Path, quality: object) -> None:
    with pytest.raises(OptionsError, match="quality"):
        restorer.restore_file(tmp_path / "absent.png", tmp_path / "b.jpg", quality=quality)  # type: ignore[arg-type]
