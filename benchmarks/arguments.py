"""Flags that all benchmarks share, and what each does at its end: table, gates, JSON, exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from benchmarks.gates import apply_gates, failures
from benchmarks.machine import available_cores, machine_slug, source_commit
from benchmarks.schema import (
    RESULTS,
    Figure,
    FitRow,
    Host,
    MemoryRow,
    Model,
    Outcome,
    QualityRow,
    Result,
    TimingRow,
    write_result,
)
from restore_sdk import __version__
from restore_sdk.errors import RestoreError

COLOURS = {"pass": "green", "fail": "bold red", "not measured": "yellow"}
Setting = str | int | float | bool | list[str] | list[float]


@dataclass(slots=True)
class Findings:
    """What a benchmark gathers while it runs."""

    rows: list[QualityRow | FitRow | TimingRow | MemoryRow] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Setting] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str) -> None:
        """Record one figure."""
        self.figures.append(Figure(name=name, value=value, unit=unit))


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the shared flags."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    result.add_argument("--model", default="denoise", help="bundled name or path of an .onnx file")
    result.add_argument("--threads", type=positive, default=available_cores(), help="threads for every method")
    result.add_argument("--json", type=_file, metavar="OUT", help="also write the results to this file")
    result.add_argument("--save", action="store_true", help="also write the results to benchmarks/results/")
    result.add_argument("--no-gates", action="store_true", help="show the limits but always exit with 0")
    return result


def _file(text: str) -> Path:
    """A path that a file can have, for argparse."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is {'a folder' if path.is_dir() else 'in a folder that does not exist'}")
    return path


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """A whole number of at least 0, for argparse."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"{text} is below {least}")
    return value


def exit_with(main: Callable[[], int]) -> NoReturn:
    """End the process with main's exit code; a model, image or folder that cannot be used is one line on stderr and code 2."""
    try:
        raise SystemExit(main())
    except (RestoreError, OSError) as exc:
        print(exc, file=sys.stderr)
        raise SystemExit(2) from exc


def finish(
    name: str,
    arguments: argparse.Namespace,
    findings: Findings,
    host: Host,
    model: Model,
) -> int:
    """Print figures and gates, write the JSON that was asked for, and return the exit code: 1 when a gate fails."""
    result = Result(
        benchmark=name,
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        commit=source_commit(),
        host=host,
        model=model,
        settings={**findings.settings},
        rows=findings.rows,
        figures=findings.figures,
        gates=apply_gates(name, findings.figures),
        notes=findings.notes,
    )
    show(result)
    targets = [arguments.json] if arguments.json else []
    targets += [RESULTS / f"{name}-{machine_slug(host)}.json"] if arguments.save else []
    for target in targets:
        write_result(target, result)
        print(f"written: {target.name}")
    return exit_code(result.gates, enforced=not arguments.no_gates)


def exit_code(outcomes: Sequence[Outcome], *, enforced: bool) -> int:
    """1 and a list on stdout when a gate fails and is enforced, else 0."""
    failed = failures(outcomes)
    if failed:
        print("\ngates that failed:" if enforced else "\ngates that failed (not enforced):")
        for outcome in failed:
            print(f"  {outcome.figure} = {outcome.value:.4g}, wanted {outcome.want}")
    return 1 if failed and enforced else 0


def show(result: Result, console: Console | None = None) -> None:
    """Figures, gates and notes as tables on stdout."""
    console = console or wide_console()
    figures = Table(title=f"{result.benchmark}: figures of {result.model.name}")
    for title in ("figure", "value", "unit"):
        figures.add_column(title, justify="right" if title == "value" else "left")
    for figure in result.figures:
        figures.add_row(figure.name, f"{figure.value:.4g}", figure.unit)
    gates = Table(title="limits")
    for title in ("figure", "wanted", "kind", "found", ""):
        gates.add_column(title, justify="right" if title == "found" else "left")
    for outcome in result.gates:
        found = "" if outcome.value is None else f"{outcome.value:.4g}"
        verdict = f"[{COLOURS[outcome.verdict]}]{outcome.verdict}[/]"
        gates.add_row(outcome.figure, outcome.want, outcome.kind, found, verdict)
    console.print(figures, gates)
    for note in result.notes:
        console.print(f"note: {note}", markup=False, highlight=False)


def wide_console() -> Console:
    """stdout; in a file or a pipe 120 columns wide, so that tables do not wrap."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def timing_table(title: str, rows: Sequence[TimingRow]) -> Table:
    """The rows of one comparison, with each variant's median relative to the first."""
    table = Table(title=title)
    for name in ("variant", "median", "best", "CPU", "to the first"):
        table.add_column(name, justify="left" if name == "variant" else "right")
    for row in rows:
        ratio = row.median_s / rows[0].median_s
        table.add_row(row.variant, *(f"{value * 1e3:.3f} ms" for value in (row.median_s, row.best_s, row.cpu_s)), f"{ratio:.3f}")
    return table
