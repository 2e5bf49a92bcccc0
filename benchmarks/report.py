"""Checks the committed results and prints them as Markdown: python benchmarks/report.py > docs/benchmarks.md"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.schema import RESULTS, FitRow, MemoryRow, Outcome, QualityRow, Result, ResultsError, TimingRow, read_result

ORDER = {
    "quality": "Quality: `python benchmarks/quality.py --baselines`",
    "backends": "Backends and precisions: `python benchmarks/backends.py`",
    "latency": "Overhead and speed: `python benchmarks/latency.py`",
    "tiling": "Exact tiles: `python benchmarks/tiling.py`",
    "memory": "Peak memory: `python benchmarks/memory.py`",
    "dip": "Deep Image Prior: `python benchmarks/dip.py`",
    "noise-level": "Estimated noise: `python benchmarks/noise_level.py`",
    "unir": "UNIR: `python benchmarks/unir.py`",
    "filling": "Lost pixels: `python benchmarks/filling.py`",
    "gigapixel": "Huge images: `python -m benchmarks.gigapixel`",
    "video": "Video: `python benchmarks/video.py`",
}
INTRODUCTION = """\
# Benchmarks

Made by `python benchmarks/report.py` from the files in `benchmarks/results/`; do not edit. What each script does, and how to
run it here, is in [benchmarks/README.md](../benchmarks/README.md). Ratios carry over to other machines better than seconds.
"""
Cells = Sequence[str]


def load_results(folder: Path) -> list[Result]:
    """All results in `folder`, by benchmark and then by file name. Raises ResultsError naming the first bad file."""
    results = [read_result(path) for path in sorted(folder.glob("*.json"))]
    unknown = [result.benchmark for result in results if result.benchmark not in ORDER]
    if unknown:
        raise ResultsError(f"benchmark {unknown[0]!r} is unknown; use one of {', '.join(ORDER)}")
    return sorted(results, key=lambda result: list(ORDER).index(result.benchmark))


def render(results: Sequence[Result]) -> str:
    """The whole document."""
    parts = [INTRODUCTION]
    for benchmark, title in ORDER.items():
        found = [result for result in results if result.benchmark == benchmark]
        parts += [f"\n## {title}\n"] if found else []
        parts += [section for result in found for section in _sections(result)]
    return "\n".join(parts if results else [*parts, "Nothing has been measured yet.\n"])


def markdown_table(titles: Cells, rows: Sequence[Cells], *, text_columns: int = 1) -> str:
    """A Markdown table; columns after the first `text_columns` are right-aligned."""
    rule = ["---" if column < text_columns else "---:" for column in range(len(titles))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows)) + "\n"


def _sections(result: Result) -> Iterator[str]:
    yield _heading(result)
    quality = [row for row in result.rows if isinstance(row, QualityRow)]
    for name in dict.fromkeys(row.set for row in quality):
        some = [row for row in quality if row.set == name]
        by_level = result.benchmark == "quality" or any(row.sigma is not None for row in some)
        yield _quality(name, some) if by_level else _scored(name, some)
    fits = [row for row in result.rows if isinstance(row, FitRow)]
    if fits:
        yield _fits(fits)
    timings = [row for row in result.rows if isinstance(row, TimingRow)]
    for case in dict.fromkeys(row.case for row in timings):
        yield _timing(case, [row for row in timings if row.case == case])
    memory = [row for row in result.rows if isinstance(row, MemoryRow)]
    if memory:
        yield _memory(memory)
    yield _limits(result.gates)
    yield from ("\n".join(f"- {note}" for note in result.notes) + "\n",) if result.notes else ()


def _heading(result: Result) -> str:
    host, model = result.host, result.model
    facts = [f"{host.cores} cores, {host.threads} threads, {host.ram_gb:g} GB", host.os, f"Python {host.python}"]
    facts += [f"{name} {version}" for name, version in host.packages.items()]
    if host.peak_gflops is not None:
        facts.append(f"FP32 peak {host.peak_gflops:.0f} GFLOP/s ({host.peak_source})")
    network = [f"model `{model.name}`"]
    network += [f"{model.parameters:,} parameters".replace(",", " ")] if model.parameters is not None else []
    network += [f"{model.gflop_per_megapixel:g} GFLOP/MP"] if model.gflop_per_megapixel is not None else []
    network += [f"sha256 {model.sha256[:12]}"] if model.sha256 else []
    made = f"{result.utc[:10]}, restore-sdk {result.version}" + (f", commit {result.commit}" if result.commit else "")
    machine = host.cpu + (f", {host.gpu}" if host.gpu else "")
    return f"### {machine}\n\n{'; '.join(facts)}.\n{', '.join(network)}. {made}.\n"


def _quality(name: str, rows: Sequence[QualityRow]) -> str:
    sigmas = list(dict.fromkeys(row.sigma for row in rows))
    titles = ["PSNR dB / SSIM", *("real noise" if sigma is None else f"sigma {sigma:g}" for sigma in sigmas)]
    lines = []
    for method in dict.fromkeys(row.method for row in rows):
        found = {row.sigma: row for row in rows if row.method == method}
        lines.append([method, *(_scores(found.get(sigma)) for sigma in sigmas)])
    return f"**{name}**, {rows[0].images} images\n\n" + markdown_table(titles, lines)


def _scored(name: str, rows: Sequence[QualityRow]) -> str:
    """Where there is no noise level to tell columns by."""
    lines = [[row.method, f"{row.psnr:.2f}", f"{row.ssim:.3f}"] for row in rows]
    return f"**{name}**, {rows[0].images} images\n\n" + markdown_table(["", "PSNR dB", "SSIM"], lines)


def _fits(rows: Sequence[FitRow]) -> str:
    lines = []
    for row in rows:
        side = f"{row.size} x {row.size}" if row.size else "whole"
        numbers = f"{row.psnr:.2f}", f"{row.ssim:.3f}", f"{row.iterations:.0f}", f"{row.seconds:.1f}", str(row.seeds)
        lines.append([row.case, side, row.method + (f" ({row.width})" if row.width else ""), *numbers])
    titles = ["case", "size", "method", "PSNR dB", "SSIM", "iterations", "seconds", "seeds"]
    return markdown_table(titles, lines, text_columns=3)


def _scores(row: QualityRow | None) -> str:
    return "" if row is None else f"{row.psnr:.2f} / {row.ssim:.3f}"


def _timing(case: str, rows: Sequence[TimingRow]) -> str:
    lines = [
        [row.variant, *(f"{1e3 * value:.3f}" for value in (row.median_s, row.best_s, row.cpu_s)), str(row.rounds)] for row in rows
    ]
    return f"**{case}**\n\n" + markdown_table(["", "median ms", "best ms", "CPU ms", "rounds"], lines)


def _memory(rows: Sequence[MemoryRow]) -> str:
    lines = []
    for row in rows:
        bound = "" if row.bound_mb is None else f"{row.bound_mb:.0f}"
        lines.append([row.variant, f"{row.megapixels:.2f}", f"{row.peak_mb:.0f}", bound, f"{row.seconds:.1f}"])
    return markdown_table(["peak memory of a fresh process", "megapixels", "MB", "bound MB", "seconds"], lines)


def _limits(outcomes: Sequence[Outcome]) -> str:
    lines = []
    for outcome in outcomes:
        found = "" if outcome.value is None else f"{outcome.value:.4g}"
        lines.append([f"`{outcome.figure}`", outcome.want, outcome.kind, found, outcome.verdict])
    return markdown_table(["figure", "wanted", "kind", "found", ""], lines, text_columns=3)


def main(words: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="folder of the JSON files")
    options.add_argument("--check", action="store_true", help="only check them")
    arguments = options.parse_args(words)
    try:
        results = load_results(arguments.results)
    except ResultsError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"{len(results)} results follow the format" if arguments.check else render(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
