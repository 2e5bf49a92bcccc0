"""Where images are written to: whole or not at all, never over what was not meant, with plain file permissions."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from sample_files import noise

from restore_sdk.errors import ImageWriteError, OptionsError
from restore_sdk.image import atomic
from restore_sdk.image.files import ImageFile, read_image, write_image

IMAGE = ImageFile(noise(6, 8, 3))
posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions and links are those of POSIX")


def refusal(path: Path, image: ImageFile = IMAGE, *, overwrite: bool = True) -> str:
    with pytest.raises(ImageWriteError) as caught:
        write_image(path, image, overwrite=overwrite)
    assert caught.value.path == path
    assert ";" in caught.value.reason
    return caught.value.reason


def test_missing_folder(tmp_path: Path) -> None:
    assert "does not exist; create it first" in refusal(tmp_path / "none" / "a.png")


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file, not a folder" in refusal(tmp_path / "file" / "a.png")


def test_target_that_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    assert "it is a directory" in refusal(tmp_path / "a.png")


@posix
def test_target_that_is_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert "it is not a regular file" in refusal(tmp_path / "a.png")
    assert stat.S_ISFIFO((tmp_path / "a.png").stat().st_mode)


@pytest.mark.parametrize("name", ["a", "a.xyz", "a.gif", ".png", "a.exr"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    reason = refusal(tmp_path / name)
    assert "unknown suffix" in reason
    assert ".avif, .bmp, .dib, .jfif, .jpe, .jpeg, .jpg, .pgm, .png, .pnm, .ppm, .tif, .tiff, .webp" in reason


def test_existing_target_without_overwrite(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("old")
    assert "it exists already; pass overwrite=True" in refusal(tmp_path / "a.png", overwrite=False)
    assert (tmp_path / "a.png").read_text() == "old"
    write_image(tmp_path / "a.png", IMAGE)
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, IMAGE.pixels)
    write_image(tmp_path / "b.png", IMAGE, overwrite=False)
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.png"]


def test_target_that_appears_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "a.png"

    def parts() -> object:
        yield b"new"
        target.write_text("theirs")

    with pytest.raises(ImageWriteError, match="exists already"):
        atomic.write_atomically(target, parts(), overwrite=False)  # type: ignore[arg-type]
    assert target.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("exists", [False, True])
def test_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool) -> None:
    target = tmp_path / "a.png"

    def refuse(*args: object) -> None:
        if exists:
            target.write_text("theirs")
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    if exists:
        assert "exists already" in refusal(target, overwrite=False)
        assert target.read_text() == "theirs"
    else:
        write_image(target, IMAGE, overwrite=False)
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize(("code", "words"), [
    (errno.ENOSPC, "the disk is full"),
    (errno.EACCES, "permission denied"),
    (errno.EROFS, "read-only"),
    (errno.EIO, "check the folder and the disk"),
])  # fmt: skip
@pytest.mark.parametrize("step", ["opening", "writing", "renaming"])
def test_a_failed_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int, words: str
) -> None:
    (tmp_path / "a.png").write_text("old")
    error = OSError(code, os.strerror(code))

    def refuse(*args: object) -> None:
        raise error

    class FullFile:
        def __init__(self, descriptor: int, mode: str) -> None:
            self.descriptor = descriptor

        def __enter__(self) -> FullFile:
            return self

        def __exit__(self, *args: object) -> None:
            os.close(self.descriptor)

        write = staticmethod(refuse)

    owner, name, stand_in = {
        "opening": (os, "open", refuse),
        "writing": (os, "fdopen", FullFile),
        "renaming": (Path, "replace", refuse),
    }[step]
    monkeypatch.setattr(owner, name, stand_in)
    reason = refusal(tmp_path / "a.png")
    monkeypatch.undo()
    assert words in reason
    assert (tmp_path / "a.png").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    def parts() -> object:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic.write_atomically(tmp_path / "a.png", parts(), overwrite=True)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


@posix
def test_unwritable_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere; the same error is simulated in another test")
    assert "permission denied; pick a folder" in refusal(folder / "a.png")


@posix
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_image(tmp_path / "a.png", IMAGE)
        write_image(tmp_path / "b.png", IMAGE, overwrite=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "b.png").stat().st_mode) == mode


@posix
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("private")
    (tmp_path / "a.png").chmod(0o600)
    write_image(tmp_path / "a.png", IMAGE)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o600


@posix
def test_symbolic_links_are_written_through(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real = tmp_path / "there" / "real.png"
    link = tmp_path / "link.png"
    link.symlink_to(Path("there") / "real.png")
    for _ in range(2):  # the link dangles at first
        write_image(link, IMAGE)
        assert link.is_symlink()
        assert np.array_equal(read_image(real).pixels, IMAGE.pixels)
    assert "exists already" in refusal(link, overwrite=False)
    assert os.listdir(tmp_path / "there") == ["real.png"]


@posix
def test_link_into_a_missing_folder_and_loops(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "none" / "a.png")
    assert "does not exist; create it first" in refusal(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "c.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "b.png")
    assert "loop of symbolic links" in refusal(tmp_path / "b.png")


def test_longest_name(tmp_path: Path) -> None:
    name = "n" * 251 + ".png"
    write_image(tmp_path / name, IMAGE)
    assert os.listdir(tmp_path) == [name]
    assert "the name is too long" in refusal(tmp_path / ("n" + name))


def test_name_as_text(tmp_path: Path) -> None:
    write_image(str(tmp_path / "a.png"), IMAGE)
    assert np.array_equal(read_image(str(tmp_path / "a.png")).pixels, IMAGE.pixels)


@pytest.mark.parametrize("shape", [(), (4,), (0, 5), (4, 0, 3), (4, 4, 2), (4, 4, 5), (1, 4, 4, 3)])
def test_shapes_that_are_no_image(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert "pixels have shape" in refusal(tmp_path / "a.png", ImageFile(np.zeros(shape, np.uint8)))


@pytest.mark.parametrize("dtype", ["bool", "int64", "float64", "float16", "int16"])
def test_other_dtypes(tmp_path: Path, dtype: str) -> None:
    assert f"cannot hold {dtype} pixels" in refusal(tmp_path / "a.tif", ImageFile(np.zeros((4, 4, 3), dtype)))


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16_384), (".jpg", 65_536), (".avif", 65_537)])
def test_sides_too_long_for_the_format(tmp_path: Path, suffix: str, side: int) -> None:
    assert "pixels a side; write PNG or TIFF" in refusal(tmp_path / f"a{suffix}", ImageFile(np.zeros((1, side), np.uint8)))


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_quality_outside_its_range(tmp_path: Path, quality: int) -> None:
    with pytest.raises(OptionsError, match=f"quality={quality}, expected a whole number from 1 to 100"):
        write_image(tmp_path / "a.jpg", IMAGE, quality=quality)
