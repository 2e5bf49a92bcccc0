"""python -m training degrade, in this process."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from training.__main__ import app

PIXELS = np.random.default_rng(0).integers(1, 256, (20, 30, 3), np.uint8)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "photo.png"), PIXELS)
    return tmp_path / "photo.png"


def degrade(photo: Path, *arguments: object, output: str = "out.png") -> Result:
    return CliRunner().invoke(app, ["degrade", str(photo), "-o", str(photo.parent / output), *map(str, arguments)])


def result(photo: Path, output: str = "out.png") -> np.ndarray:
    return np.asarray(cv2.imread(str(photo.parent / output), cv2.IMREAD_UNCHANGED))


def test_pixels_are_removed_and_the_rest_kept(photo: Path) -> None:
    done = degrade(photo, "--corruption", "remove-pixel:p=0.9")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{photo.with_name('out.png')}: remove-pixel:p=0.9,fill=0.0, seed 0, 10.0% kept\n"
    lost = (result(photo) == 0).all(2)
    assert lost.sum() == 540
    assert np.array_equal(result(photo)[~lost], PIXELS[~lost])


def test_the_seed_decides(photo: Path) -> None:
    corrupted = []
    for seed in (0, 0, 1):
        assert degrade(photo, "--corruption", "remove-pixel+gaussian-noise", "--seed", seed).exit_code == 0
        corrupted.append(result(photo))
    assert np.array_equal(corrupted[0], corrupted[1])
    assert not np.array_equal(corrupted[0], corrupted[2])


def test_a_recording_gives_the_same_picture(photo: Path, tmp_path: Path) -> None:
    theta = tmp_path / "theta.safetensors"
    recorded = degrade(photo, "--corruption", "brush-strokes+gaussian-noise", "--seed", 3, "--record", theta)
    assert recorded.exit_code == 0, recorded.output
    first = result(photo)
    assert degrade(photo, "--replay", theta).exit_code == 0
    assert np.array_equal(result(photo), first)
    other = degrade(photo, "--replay", theta, "--seed", 4)  # the same strokes, other noise
    assert "seed 4" in other.stdout
    assert not np.array_equal(result(photo), first)


@pytest.mark.parametrize(("corruption", "width"), [("gaussian-blur", 64), ("downsample:factor=4", 64)])
def test_strip_shows_both(photo: Path, corruption: str, width: int) -> None:
    assert degrade(photo, "--corruption", corruption, "--strip").exit_code == 0
    strip = result(photo)
    assert strip.shape == (20, width, 3)
    assert np.array_equal(strip[:, :30], PIXELS)
    assert (strip[:, 30:34] == 255).all()


def test_a_smaller_image_is_written_as_it_is(photo: Path) -> None:
    assert degrade(photo, "--corruption", "downsample:factor=4").exit_code == 0
    assert result(photo).shape == (5, 7, 3)


def test_gray_and_16_bits_stay(tmp_path: Path) -> None:
    photo = tmp_path / "deep.png"
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 7), np.uint16)
    cv2.imwrite(str(photo), pixels)
    assert degrade(photo, "--corruption", "identity").exit_code == 0
    assert np.array_equal(result(photo), pixels)
    assert degrade(photo, "--corruption", "identity", output="out.bmp").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corruption", "magic"], "there is no 'magic'; known are"),
        ([], "pass --corruption SPEC"),
        (["--replay", "nowhere"], "is no file"),
        (["--corruption", "gaussian-noise:sigma=1e308"], "gaussian-noise: sigma=1e+308; pass a number of 0 to 1e+06"),
        (["--corruption", "clip", "--record", "nowhere/theta"], "its folder is missing"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(photo: Path, arguments: list[str], message: str) -> None:
    done = degrade(photo, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not photo.with_name("out.png").exists()


def test_a_full_disk_ends_with_1_and_names_the_file(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert degrade(photo, "--corruption", "clip").exit_code == 0
    before = photo.with_name("out.png").read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    done = degrade(photo, "--corruption", "remove-pixel")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {photo.with_name('out.png')} cannot be written: No space left on device; ")
    assert "make room" in done.stderr
    assert photo.with_name("out.png").read_bytes() == before
    assert not list(photo.parent.glob(".*.part"))


def test_files_that_do_not_fit(photo: Path, tmp_path: Path) -> None:
    theta, broken, small = tmp_path / "theta", tmp_path / "broken.png", tmp_path / "small.png"
    degrade(photo, "--corruption", "remove-pixel", "--record", theta)
    broken.write_bytes(photo.read_bytes()[:40])
    cv2.imwrite(str(small), PIXELS[:5])
    for name, arguments, message in [
        (broken, ["--corruption", "clip"], "cannot be read"),
        (small, ["--replay", theta], "was recorded for images of"),
        (photo, ["--replay", theta, "--corruption", "clip"], "was recorded for remove-pixel"),
        (photo, ["--replay", photo], "no recorded theta"),
    ]:
        done = degrade(name, *arguments)
        assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    for output in ("out.jpg", "out", "nowhere/out.png"):
        assert degrade(photo, "--corruption", "clip", output=output).exit_code == 2
    assert degrade(photo, "--corruption", "clip", "--seed", -1).exit_code == 2


def test_the_same_corruption_may_be_named_again(photo: Path, tmp_path: Path) -> None:
    theta = tmp_path / "theta"
    degrade(photo, "--corruption", "remove-pixel:p=0.5", "--record", theta)
    assert degrade(photo, "--replay", theta, "--corruption", "remove-pixel:p=.5").exit_code == 0
