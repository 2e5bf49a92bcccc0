"""Peak memory is that of a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import export.peak_memory
from export.errors import ExportError
from export.peak_memory import bytes_per_pixel, peak_resident
from export.produce import Exported


def test_the_most_is_taken_and_rounded_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 MB and 123.4 bytes for each pixel, 150 of them at the middle size: the promise is 150."""
    asked: list[int] = []

    def peak(model: Path, side: int) -> int:
        asked.append(side)
        return 80_000_000 + round((150.0 if side == 192 else 123.4) * (side * side - 24 * 24))

    monkeypatch.setattr(export.peak_memory, "_peak_in_fresh_process", peak)
    assert bytes_per_pixel(Path("any"), 24, (100, 200, 300)) == 150.0
    assert asked == [24, 96, 192, 288]


def test_a_model_that_cannot_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"not an onnx file")
    with pytest.raises(ExportError, match="cannot run on 1 x 1"):
        bytes_per_pixel(tmp_path / "junk.onnx", 1, (64,))


def test_this_process_does_not_count(exported: Exported) -> None:
    """Whatever this process has used, the measurement is not raised by it."""
    ballast = np.ones(64 * 2**20, np.uint8)
    here = peak_resident()
    assert here > ballast.nbytes
    assert export.peak_memory._peak_in_fresh_process(exported.path, 64) < here


def test_the_peak_outlives_what_caused_it() -> None:
    """The kernel's counters are exact to some pages only."""
    ballast = np.ones(200 * 2**20, np.uint8)
    during = peak_resident()
    del ballast
    assert during > 200 * 2**20
    assert peak_resident() > during - 2**20
