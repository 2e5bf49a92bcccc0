"""What the program shows: steps on stderr, results on stdout."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from export.card import Carded
from export.half_gate import Gate
from export.produce import Announce, Exported
from export.to_int8 import ExportedInt8
from export.verify import Verification
from restore_sdk.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Shown:
    """What tells of an export: `announce` each of its steps as it begins, `count` the runs of the network within one."""

    announce: Announce
    count: Callable[[int], None]


@contextmanager
def steps_shown(steps: Sequence[str]) -> Iterator[Shown]:
    """A bar over named steps, with the runs of the network in each, on a terminal; one line for each step elsewhere."""
    from rich import progress  # noqa: PLC0415 slow to load
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=True)
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        yield Shown(lambda step: console.print(f"{step} ...", markup=False, highlight=False), lambda runs: None)
        return
    columns = (progress.SpinnerColumn(), progress.TextColumn("{task.description}", markup=False), progress.BarColumn())
    with progress.Progress(*columns, progress.TimeElapsedColumn(), console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=len(steps))
        yield Shown(
            lambda step: bar.update(task, description=step, completed=list(steps).index(step)),
            lambda runs: bar.update(task, description=f"{list(steps)[int(bar.tasks[task].completed)]}: {runs} runs"),
        )


def print_exported(exported: Exported) -> None:
    """Path, size, digest and a table of what the spec promises and the checks found."""
    typer.echo(f"{exported.path}: {exported.size} bytes, sha256 {exported.sha256}")
    rows = {**_promises(exported.spec), **_checks(exported)}
    _print_table("", ("property", "value"), list(rows.items()))


def print_int8(exported: ExportedInt8) -> None:
    """Path, size, digest, and what INT8 costs at each damage."""
    typer.echo(f"{exported.path}: {exported.size} bytes, sha256 {exported.sha256}")
    rows = [
        (str(loss.damage), f"{loss.fp32:.2f}", f"{loss.int8:.2f}", f"{loss.db:.2f}", _decibels(loss.apart))
        for loss in exported.losses
    ]
    columns = ("input", "FP32, dB", "INT8, dB", "loss, dB", "INT8 against FP32, dB")
    _print_table(f"{exported.spec.name} in INT8, experimental", columns, rows)
    typer.echo(f"INT8 loses at most {exported.worst.db:.2f} dB; calibrated on {exported.images}")


def print_verification(verification: Verification, model: Path, against: Path) -> None:
    """A row for each shape, then the verdict."""
    rows = [
        (
            item.label,
            " x ".join(map(str, item.shape)),
            f"{item.max_abs:.2e}",
            _decibels(item.psnr),
            "ok" if verification.allows(item) else "FAIL",
        )
        for item in verification.differences
    ]
    _print_table(f"{model.name} against {against.name}", ("input", "N x C x H x W", "largest difference", "PSNR, dB", ""), rows)
    verdict = "equal within" if verification.passed else "DIFFERENT beyond"
    least = f" and {verification.least_psnr:g} dB" if math.isfinite(verification.least_psnr) else ""
    typer.echo(f"{verdict} {verification.tolerance:g}{least}: largest difference {verification.worst.max_abs:.2e}")


def print_carded(carded: Carded) -> None:
    """Path, size, digest and the quality table that is now in the spec."""
    typer.echo(f"{carded.path}: {carded.size} bytes, sha256 {carded.sha256}")
    rows = [tuple(_quality_cell(row.get(name)) for name in ("set", "sigma", "psnr", "ssim")) for row in carded.spec.quality]
    _print_table("", ("set", "sigma", "PSNR, dB", "SSIM"), rows)


def _promises(spec: ModelSpec) -> dict[str, str]:
    radius = "the whole image" if spec.receptive_radius is None else f"{spec.receptive_radius} px"
    return {
        "name": f"{spec.name} ({spec.task}, {spec.method})",
        "channels, scale": f"{spec.channels}, {spec.scale}",
        "precision": spec.precision,
        "size multiple": f"{spec.size_multiple} px",
        "receptive radius": radius,
        "reads the whole image": ", ".join(spec.global_ops) or "no operator",
        "fast halo": f"{spec.fast_halo} px, largest error {(spec.fast_error or 0) * 255:.3f} / 255",
        "memory": f"{spec.bytes_per_pixel:g} bytes per pixel of the largest tile",
        "licence": spec.licence or "not stated",
    }


def _checks(exported: Exported) -> dict[str, str]:
    error = exported.exact_tile_error
    tiles = {None: "impossible", 0.0: "bit-identical to the whole image"}.get(error, f"within {error} of the whole image")
    measured = "the whole image" if exported.measured_radius is None else f"{exported.measured_radius} px"
    return {
        "against PyTorch": f"largest difference {exported.verification.worst.max_abs:.2e}",
        "radius with these weights": measured,
        "exact tiles": tiles,
        **_cost(exported.gate),
    }


def _cost(gate: Gate | None) -> dict[str, str]:
    if gate is None:
        return {}
    cost = f"{_decibels(gate.psnr)} dB, largest difference {gate.max_abs:.2e}, on {gate.images}, white and black"
    return {"FP16 against FP32": cost, "kept in FP32": ", ".join(gate.keep) or "no layer"}


def _decibels(psnr: float) -> str:
    return f"{psnr:.1f}" if math.isfinite(psnr) else "equal" if psnr > 0 else "-"


def _quality_cell(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]] | Mapping[str, str]) -> None:
    from rich.console import Console  # noqa: PLC0415 slow to load
    from rich.table import Table  # noqa: PLC0415

    table = Table(*columns, title=title or None)
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)
