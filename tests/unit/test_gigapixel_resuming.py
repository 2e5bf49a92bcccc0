"""Killed at any moment, the work goes on with what was finished; and what does not fit together is refused."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gigapixel_samples import backend, left_beside, picture, restore, spread

from restore_sdk.errors import ImageReadError, ImageWriteError
from restore_sdk.image.big_journal import ResumeError
from restore_sdk.image.big_publishing import written
from restore_sdk.spec import ModelSpec

tifffile = pytest.importorskip("tifffile", reason="needs the extra tiff")
pytest.importorskip("imagecodecs", reason="needs the extra tiff")
zarr = pytest.importorskip("zarr", reason="needs the extra tiff")

TARGETS = ("out.tif", "out.zarr")
CHILD = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[1].split(os.pathsep)
from gigapixel_samples import backend, restore, spread
from restore_sdk.spec import ModelSpec
calls = []
def killed(batch):
    calls.append(1)
    if len(calls) == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    return spread(batch)
spec = ModelSpec.from_json(sys.argv[5])
restore(backend(spec, killed), Path(sys.argv[2]), Path(sys.argv[3]))
"""


class Counted:
    """A network that counts its tiles, and may stop at one."""

    def __init__(self, stop_at: int = 10**9, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.tiles, self._stop_at, self._error = 0, stop_at, error

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.tiles += 1
        if self.tiles == self._stop_at:
            raise self._error
        return spread(batch)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, picture(150, 203), tile=(32, 32), compression="deflate", photometric="rgb", metadata=None)
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(zarr.open(str(path), mode="r")[:]) if path.suffix == ".zarr" else tifffile.imread(path)


def interrupt(spec: ModelSpec, source: Path, target: Path, after: int = 5, **wishes: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        restore(backend(spec, Counted(after + 1)), source, target, **wishes)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("after", [1, 5, 11])
def test_interrupted_and_resumed(tmp_path: Path, small_spec: ModelSpec, source: Path, name: str, after: int) -> None:
    target = tmp_path / name
    restore(backend(small_spec), source, tmp_path / f"whole_{name}")
    interrupt(small_spec, source, target, after)
    assert not target.exists()
    network, seen = Counted(), []
    report = restore(backend(small_spec, network), source, target, on_tile=lambda done, total: seen.append((done, total)))
    assert network.tiles == report.tiles - after
    assert seen == [(done, report.tiles) for done in range(after + 1, report.tiles + 1)]
    assert f"{after} of {report.tiles} cells were there from an interrupted run" in report.notices
    np.testing.assert_array_equal(pixels(target), pixels(tmp_path / f"whole_{name}"))
    assert left_beside(target) == []


def test_resumed_file_is_the_same_to_the_byte(tmp_path: Path, small_spec: ModelSpec, source: Path) -> None:
    restore(backend(small_spec), source, tmp_path / "whole.tif")
    interrupt(small_spec, source, tmp_path / "out.tif")
    restore(backend(small_spec), source, tmp_path / "out.tif")
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


@pytest.mark.parametrize("name", TARGETS)
def test_killed_for_good_and_resumed(tmp_path: Path, small_spec: ModelSpec, source: Path, name: str) -> None:
    target, here = tmp_path / name, os.pathsep.join(sys.path)
    command = [sys.executable, "-c", CHILD, here, str(source), str(target), "6", small_spec.to_json()]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert len(left_beside(target)) == 2
    network = Counted()
    report = restore(backend(small_spec, network), source, target)
    assert network.tiles == report.tiles - 5
    restore(backend(small_spec), source, tmp_path / f"whole_{name}")
    np.testing.assert_array_equal(pixels(target), pixels(tmp_path / f"whole_{name}"))


def test_finished_tiles_that_were_damaged_are_done_again(tmp_path: Path, small_spec: ModelSpec, source: Path) -> None:
    interrupt(small_spec, source, tmp_path / "out.tif")
    unfinished = tmp_path / ".out.tif.unfinished"
    data = bytearray(unfinished.read_bytes())
    data[-10] ^= 255
    unfinished.write_bytes(data)
    network = Counted()
    report = restore(backend(small_spec, network), source, tmp_path / "out.tif")
    assert network.tiles == report.tiles - 4
    restore(backend(small_spec), source, tmp_path / "whole.tif")
    np.testing.assert_array_equal(pixels(tmp_path / "out.tif"), pixels(tmp_path / "whole.tif"))


def test_journal_line_that_was_cut_off_does_not_count(tmp_path: Path, small_spec: ModelSpec, source: Path) -> None:
    interrupt(small_spec, source, tmp_path / "out.tif")
    journal = tmp_path / ".out.tif.journal"
    journal.write_bytes(journal.read_bytes()[:-7])
    network = Counted()
    report = restore(backend(small_spec, network), source, tmp_path / "out.tif")
    assert network.tiles == report.tiles - 4


def touch(source: Path, _target: Path) -> dict[str, Any]:
    os.utime(source, ns=(1, 1))
    return {}


def scribble(_source: Path, target: Path) -> dict[str, Any]:
    target.with_name(f".{target.name}.journal").write_bytes(b"\x00\xff not a journal\n")
    return {}


def add_a_list(_source: Path, target: Path) -> dict[str, Any]:
    with target.with_name(f".{target.name}.journal").open("ab") as file:
        file.write(b"[1]\n")
    return {}


CHANGES: dict[str, tuple[Callable[[Path, Path], dict[str, Any]], str]] = {
    "source": (touch, "source"),
    "settings": (lambda _source, _target: {"clip": False}, "settings"),
    "cells": (lambda _source, _target: {"core": 96}, "cells"),
    "wrong journal": (scribble, "damaged"),
    "line of another kind": (add_a_list, "damaged"),
}


@pytest.mark.parametrize(("change", "word"), CHANGES.values(), ids=CHANGES)
def test_work_that_does_not_fit_is_refused_or_started_over(
    tmp_path: Path, small_spec: ModelSpec, source: Path, change: Callable[[Path, Path], dict[str, Any]], word: str
) -> None:
    target = tmp_path / "out.tif"
    interrupt(small_spec, source, target)
    wishes = change(source, target)
    before = left_beside(target)
    with pytest.raises(ResumeError, match=word) as caught:
        restore(backend(small_spec), source, target, **wishes)
    assert caught.value.journal.name in str(caught.value)
    assert left_beside(target) == before
    network = Counted()
    report = restore(backend(small_spec, network), source, target, overwrite=True, **wishes)
    assert network.tiles == report.tiles
    assert any(notice.startswith("an interrupted restoration was started over") for notice in report.notices)
    assert left_beside(target) == []


def test_another_model_is_refused(tmp_path: Path, small_spec: ModelSpec, source: Path) -> None:
    interrupt(small_spec, source, tmp_path / "out.tif")
    with pytest.raises(ResumeError, match="model"):
        restore(backend(small_spec, name="another"), source, tmp_path / "out.tif")


def test_two_at_once_on_one_target(tmp_path: Path, small_spec: ModelSpec, source: Path) -> None:
    def another(batch: np.ndarray) -> np.ndarray:
        with pytest.raises(ResumeError, match="another process"):
            restore(backend(small_spec), source, tmp_path / "out.tif")
        return spread(batch)

    pytest.importorskip("fcntl", reason="no locks of this kind here")
    restore(backend(small_spec, another), source, tmp_path / "out.tif")
    assert (tmp_path / "out.tif").is_file()


def test_source_that_changes_meanwhile(tmp_path: Path, small_spec: ModelSpec, source: Path) -> None:
    def changing(batch: np.ndarray) -> np.ndarray:
        os.utime(source, ns=(1, 1))
        return spread(batch)

    with pytest.raises(ImageReadError, match="changed while"):
        restore(backend(small_spec, changing), source, tmp_path / "out.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_failure_before_the_first_cell_leaves_nothing(tmp_path: Path, small_spec: ModelSpec, source: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        restore(backend(small_spec, Counted(1, ZeroDivisionError)), source, tmp_path / "out.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    """The system writes no file of more bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource", reason="needs limits on files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_keeps_what_is_finished(tmp_path: Path, small_spec: ModelSpec, source: Path) -> None:
    with files_of_at_most(40_000), pytest.raises(ImageWriteError, match="what is finished is kept"):
        restore(backend(small_spec), source, tmp_path / "out.tif")
    network = Counted()
    report = restore(backend(small_spec, network), source, tmp_path / "out.tif")
    assert 0 < network.tiles < report.tiles
    restore(backend(small_spec), source, tmp_path / "whole.tif")
    np.testing.assert_array_equal(pixels(tmp_path / "out.tif"), pixels(tmp_path / "whole.tif"))


def test_disk_that_is_full_from_the_start(tmp_path: Path, small_spec: ModelSpec, source: Path) -> None:
    with files_of_at_most(100), pytest.raises(ImageWriteError, match="larger than the system allows"):
        restore(backend(small_spec), source, tmp_path / "out.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota"), (errno.EIO, "check the folder")]
)
def test_what_the_disk_says(code: int, words: str) -> None:
    with pytest.raises(ImageWriteError, match=words), written(Path("out.tif")):
        raise OSError(code, os.strerror(code))


def test_source_replaced_by_its_result(tmp_path: Path, small_spec: ModelSpec, source: Path) -> None:
    restore(backend(small_spec), source, tmp_path / "out.tif")
    with pytest.raises(ImageWriteError, match="source itself"):
        restore(backend(small_spec), source, source)
    restore(backend(small_spec), source, source, overwrite=True)
    np.testing.assert_array_equal(pixels(source), pixels(tmp_path / "out.tif"))
    assert left_beside(source) == []
