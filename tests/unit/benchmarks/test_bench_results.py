"""The results format, and the report made from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.gates import apply_gates
from benchmarks.schema import (
    RESULTS,
    Figure,
    FitRow,
    Host,
    MemoryRow,
    Model,
    QualityRow,
    Result,
    ResultsError,
    TimingRow,
    read_result,
    write_result,
)

HOST = Host(
    cpu="Some CPU", cores=2, threads=2, ram_gb=8, os="Linux x86_64", python="3.11.7", packages={"numpy": "2.0"}, peak_gflops=204
)
MODEL = Model(name="denoise", sha256="ab" * 32, parameters=818000, gflop_per_megapixel=163, receptive_radius=31, size_multiple=4)


def result(benchmark: str, rows: list[Any], **figures: float) -> Result:
    measured = [Figure(name=name, value=value, unit="") for name, value in figures.items()]
    return Result(
        benchmark=benchmark,
        utc="2026-01-02T03:04:05+00:00",
        version="0.1.0",
        commit="0123456789ab",
        host=HOST,
        model=MODEL,
        settings={"rounds": 3},
        rows=rows,
        figures=measured,
        gates=apply_gates(benchmark, measured),
        notes=["a note"],
    )


QUALITY = QualityRow(set="cbsd68", sigma=25, method="restore-sdk", psnr=30.5, ssim=0.87, images=68, seconds=12)
REAL = QualityRow(set="polyu", sigma=None, method="noisy input", psnr=36.25, ssim=0.94, images=50, seconds=0)
TIMING = TimingRow(case="tiles", variant="restore()", rounds=3, median_s=1.5, best_s=1.25, cpu_s=3)
MEMORY = MemoryRow(variant="exact tiles", megapixels=12, peak_mb=700, bound_mb=950, seconds=9)


def test_written_results_read_back_equal(tmp_path: Path) -> None:
    written = result("quality", [QUALITY, REAL, TIMING, MEMORY], cbsd68_sigma25_psnr=30.5)
    write_result(tmp_path / "new" / "quality.json", written)
    assert read_result(tmp_path / "new" / "quality.json") == written
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["quality.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"schema_name": "restore-bench/2"},
        {"unknown": 1},
        {"rows": [{"set": "cbsd68"}]},
        {"figures": [{"name": "x", "value": "NaN", "unit": ""}]},
    ],
)
def test_a_file_that_breaks_the_format_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    values = json.loads(result("quality", [QUALITY]).model_dump_json()) | change
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ResultsError, match=r"bad\.json"):
        read_result(path)
    assert report.main(["--results", str(tmp_path)]) == 1


def test_report_shows_scores_times_memory_and_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_result(tmp_path / "b.json", result("quality", [QUALITY, REAL], cbsd68_sigma25_psnr=30.5))
    write_result(tmp_path / "a.json", result("tiling", [TIMING, MEMORY], tile_loop_over_restore=1.2))
    assert report.main(["--results", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.index("## Quality") < text.index("## Exact tiles")
    assert "| restore-sdk | 30.50 / 0.870 |" in text
    assert "| noisy input | 36.25 / 0.940 |" in text
    assert "| restore() | 1500.000 | 1250.000 | 3000.000 | 3 |" in text
    assert "| exact tiles | 12.00 | 700 | 950 | 9.0 |" in text
    assert "| `cbsd68_sigma25_psnr` | at least 30.71 dB | aim | 30.5 | fail |" in text
    assert "| `tile_loop_over_restore` | at least 1.3 x | must | 1.2 | fail |" in text
    assert "- a note" in text


def test_only_quality_speaks_of_real_noise(tmp_path: Path) -> None:
    lost = QualityRow(set="kodak24 p=0.5", sigma=None, method="OpenCV", psnr=25.5, ssim=0.75, images=3, seconds=1)
    fit = FitRow(
        case="inpaint-kate", size=256, method="ours", width="draft", psnr=40.05, ssim=0.99, iterations=3585, seconds=9, seeds=2
    )
    whole = fit.model_copy(update={"size": 0, "width": "", "method": "opencv"})
    write_result(tmp_path / "a.json", result("filling", [lost]))
    write_result(tmp_path / "b.json", result("dip", [fit, whole]))
    text = report.render(report.load_results(tmp_path))
    assert "real noise" not in text
    assert "| OpenCV | 25.50 | 0.750 |" in text
    assert "| inpaint-kate | 256 x 256 | ours (draft) | 40.05 | 0.990 | 3585 | 9.0 | 2 |" in text
    assert "| inpaint-kate | whole | opencv | 40.05 |" in text


def test_report_without_results_says_so(tmp_path: Path) -> None:
    assert "Nothing has been measured yet." in report.render(report.load_results(tmp_path))


def test_committed_results_follow_the_format() -> None:
    report.load_results(RESULTS)
