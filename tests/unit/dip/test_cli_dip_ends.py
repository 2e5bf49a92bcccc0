"""How a run of `restore image -m dip-...` ends: interrupted early, without its trace, with files that were passed over."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restore_sdk import image_files
from restore_sdk.cli import dip
from restore_sdk.cli.dip import restore_dip
from restore_sdk.cli.dip_flags import DipFlags, WidthChoice
from restore_sdk.cli.dip_progress import FitBars
from restore_sdk.cli.exit_codes import ExitCode
from restore_sdk.cli.flags import Metadata, Settings
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.results import FitProgress
from restore_sdk.errors import ImageWriteError

SHORT = {"width": WidthChoice.DRAFT, "max_iterations": 3}


def save(path: Path, width: int = 24) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, width, 3), dtype=np.uint8)).save(path)
    return path


def run(
    source: Path, out: str, as_json: bool = True, overwrite: bool = False, model: str = "dip-denoise", **flags: Any
) -> ExitCode:
    keep = {"tile": "auto", "threads": None, "metadata": Metadata.KEEP, "compare": None, "backend": "auto"}
    settings = Settings(model=model, device="cpu", overwrite=overwrite, **keep)  # type: ignore[arg-type]
    return restore_dip([str(source)], out, settings, DipFlags(**{**SHORT, **flags}), as_json=as_json, debug=False)


def press_at(monkeypatch: pytest.MonkeyPatch, iteration: int) -> None:
    """Ctrl-C at an iteration."""

    def press(self: FitBars, progress: FitProgress) -> None:
        if progress.iteration == iteration:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(FitBars, "iterated", press)


def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them for an image 112 pixels wide, one after the other."""
    options_of = dip.options_of

    def small(flags: DipFlags) -> DipOptions:
        return dataclasses.replace(options_of(flags), tile=64, overlap=16, batch=1)

    monkeypatch.setattr(dip, "options_of", small)


@pytest.mark.parametrize("when", ["while it is read", "in the first iteration"])
def test_an_interrupt_before_there_is_a_result_leaves_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    source = save(tmp_path / "a.png")
    before = source.read_bytes()
    if when == "while it is read":
        read = image_files.read_image

        def slow(path: Path) -> Any:
            signal.raise_signal(signal.SIGINT)
            return read(path)

        monkeypatch.setattr(image_files, "read_image", slow)
    else:
        press_at(monkeypatch, 1)
    code = run(source, str(source), overwrite=True)
    said = capsys.readouterr()
    assert code is ExitCode.INTERRUPTED
    assert json.loads(said.out)["counts"] == {"interrupted": 1}
    assert "error: interrupted; nothing was restored yet, so nothing is written" in said.err
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("interrupted", "why"), [(True, "they were not begun before the interrupt"), (False, "the time was over")]
)
def test_why_tiles_are_not_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], interrupted: bool, why: str
) -> None:
    small_tiles(monkeypatch)
    if interrupted:
        press_at(monkeypatch, 2)
    flags = {} if interrupted else {"max_seconds": 0.0}
    code = run(save(tmp_path / "a.png", width=112), str(tmp_path / "b.png"), as_json=False, **flags)
    assert code is (ExitCode.INTERRUPTED if interrupted else ExitCode.OK)
    assert f"1 of 2 tiles are not restored: {why}" in capsys.readouterr().err
    assert (tmp_path / "b.png").is_file()


def test_a_trace_that_cannot_be_written_leaves_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        raise ImageWriteError(path, "the disk is full; free some space or write to another disk")

    monkeypatch.setattr(dip, "write_atomically", full)
    code = run(save(tmp_path / "a.png"), str(tmp_path / "b.png"), trace=tmp_path / "trace.png")
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert (code, said["exit_code"], said["counts"]) == (ExitCode.PARTIAL, 6, {"restored": 1})
    assert (said["trace"], said["trace_error"]["type"]) == (None, "ImageWriteError")
    file = said["files"][0]
    assert (file["status"], file["error"], file["width"], file["height"]) == ("restored", None, 24, 20)
    assert "3 iterations, ended by max_iterations" in file["notices"]
    assert "trace.png: the disk is full" in captured.err
    assert (tmp_path / "b.png").is_file()


def test_a_trace_is_named_once_it_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace.png"
    assert run(save(tmp_path / "a.png"), str(tmp_path / "b.png"), trace=trace) is ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert (said["trace"], said["trace_error"], trace.is_file()) == (str(trace), None, True)


@pytest.mark.parametrize("as_json", [True, False])
def test_files_that_were_passed_over_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    for name in ("in/a.png", "in/b.png", "out/b.png"):
        save(tmp_path / name)
    (tmp_path / "in" / "notes.txt").touch()
    assert run(tmp_path / "in", f"{tmp_path / 'out'}/", as_json=as_json) is ExitCode.OK
    captured = capsys.readouterr()
    assert "skipped targets exist; pass --overwrite to replace them\n" in captured.err
    assert "left out 1 files that have no suffix of an image (.txt: 1); name them to try them\n" in captured.err
    assert "restored: 1, skipped: 1; " in captured.err
    if as_json:
        said = json.loads(captured.out)
        assert (said["left_out"], said["counts"]) == ({".txt": 1}, {"restored": 1, "skipped": 1})


def test_tiles_with_nothing_to_fill_are_no_result_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_tiles(monkeypatch)
    press_at(monkeypatch, 1)
    mask = np.zeros((20, 160), np.uint8)
    mask[5:9, 4:9] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    source = save(tmp_path / "a.png", width=160)
    mask_file, target = tmp_path / "mask.png", str(tmp_path / "b.png")
    assert run(source, target, model="dip-inpaint", mask=mask_file) is ExitCode.INTERRUPTED
    assert not (tmp_path / "b.png").exists()
