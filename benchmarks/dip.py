"""Deep Image Prior on the images of its paper: where our loop stops, where it should have, deepinv's loop, and OpenCV.

One fit of ours to the end of its iterations gives two rows: the best mean of iterates by the truth (the oracle), and the one at
which the automatic policy would have stopped. Every finished row is kept at once in a file of JSON lines, so a run that was
interrupted, or made in pieces with --cases, --seeds or --limit, goes on where it ended.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.table import Table

from benchmarks.arguments import Findings, exit_with, finish, parser, positive, wide_console
from benchmarks.dip_cases import CASES, Case, Trial, is_here, open_trial
from benchmarks.dip_trials import AUTOMATIC_STOP, ORACLE, OTHER_POLICIES, Row, asked_only, run_opencv, run_ours, run_peer
from benchmarks.images import DEFAULT_DATA, FloatPixels
from benchmarks.machine import host_facts
from benchmarks.peers.deep_image_prior import is_installed
from benchmarks.schema import Model, QualityRow
from benchmarks.strips import as_bytes, write_strip
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.results import FitProgress

METHODS = ("opencv", "ours", "deepinv")
SECONDS_BETWEEN_LINES = 30.0
LEAST_SIDE = 32  # pixels
LEDGER, STRIPS = Path("out/benchmarks/dip.jsonl"), Path("out/benchmarks/dip")
Work = tuple[Case, int, str]


def work_of(arguments: argparse.Namespace) -> list[Work]:
    """What is to be measured, seed after seed, so that a run that is cut short has every case at least once."""
    cases = [CASES[name] for name in arguments.cases if is_here(CASES[name], arguments.data)]
    methods = [name for name in arguments.methods if name != "deepinv" or is_installed()]
    return [(case, seed, method) for seed in range(arguments.seeds) for case in cases for method in methods]


def settings_of(method: str, arguments: argparse.Namespace) -> str:
    """What must be equal for a kept row to stand for this run."""
    shared = f"size={arguments.size}"
    if method == "ours":
        limits = f"iterations={arguments.max_iterations} beyond={arguments.beyond}"
        return f"{shared} width={arguments.width} {limits} stopping={arguments.stopping}"
    return f"{shared} iterations={arguments.peer_iterations}" if method == "deepinv" else shared


def read_rows(path: Path) -> list[tuple[str, str, Row]]:
    """(method asked for, its settings, row) of every line; a last line that was cut off is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            kept = json.loads(line)
        except ValueError:
            continue
        found.append((kept["work"], kept["asked"], Row(**kept["row"])))
    return found


def keep_rows(path: Path, method: str, asked: str, rows: Sequence[Row]) -> None:
    """Append the rows of one piece of work in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"work": method, "asked": asked, "row": dataclasses.asdict(row)}) + "\n" for row in rows]
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(lines))
        file.flush()
        os.fsync(file.fileno())


def measure(work: Sequence[Work], arguments: argparse.Namespace) -> None:
    """Do what is not kept yet, at most --limit pieces of it."""
    done = {(row.case, row.seed, method, asked) for method, asked, row in read_rows(arguments.ledger)}
    to_do = [(*piece, settings_of(piece[2], arguments)) for piece in work]
    to_do = [piece for piece in to_do if (piece[0].name, piece[1], piece[2], piece[3]) not in done]
    chosen = to_do[: arguments.limit] if arguments.limit else to_do
    print(f"{len(work) - len(to_do)} of {len(work)} are kept in {arguments.ledger.name}; {len(chosen)} follow now")
    for number, (case, seed, method, asked) in enumerate(chosen, 1):
        title = f"[{number}/{len(chosen)}] {case.name}, seed {seed}, {method}"
        print(title, flush=True)
        rows = run_one(open_trial(case, arguments.data, arguments.size, seed), seed, method, arguments)
        keep_rows(arguments.ledger, method, asked, rows)
        for row in rows:
            print(f"  {row.method}: {row.psnr:.2f} dB, {row.iterations} iterations, {row.seconds:.1f} s {row.stop}", flush=True)


def run_one(trial: Trial, seed: int, method: str, arguments: argparse.Namespace) -> list[Row]:
    """The rows of one method."""
    if method == "opencv":
        return run_opencv(trial, seed)
    options = DipOptions(width=arguments.width, stopping=arguments.stopping, seed=seed, max_iterations=arguments.max_iterations)
    if method == "ours":
        how = {"device": arguments.device, "every": arguments.every, "beyond": arguments.beyond}
        rows, result = run_ours(trial, options, **how, on_progress=spoken())
        draw(arguments.strips / f"{trial.case.name}-{seed}.png", trial, result)
        return rows
    return run_peer(trial, options, arguments.peer_iterations, arguments.every)


def draw(path: Path, trial: Trial, result: FloatPixels) -> None:
    """As measured | OpenCV's | ours at its own stop | the truth."""
    height, width = trial.clean.shape[:2]
    measured = cv2.resize(trial.measured, (width, height), interpolation=cv2.INTER_NEAREST)
    shown = (np.asarray(measured, np.float32), trial.opencv()[1], result, trial.clean)
    write_strip(path, [[as_bytes(pixels) for pixels in shown]], "--strips")


def spoken() -> Callable[[FitProgress], None]:
    """A line of progress now and then."""
    said = time.monotonic()

    def tell(progress: FitProgress) -> None:
        nonlocal said
        if time.monotonic() - said >= SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            print(f"  {progress.iteration} of {progress.budget}, loss {progress.loss:.5f}, {progress.seconds:.0f} s", flush=True)

    return tell


def kept_rows(work: Sequence[Work], arguments: argparse.Namespace) -> list[Row]:
    """The rows of this run's work, measured now or before."""
    wanted = {(case.name, seed, method, settings_of(method, arguments)) for case, seed, method in work}
    return [row for method, asked, row in read_rows(arguments.ledger) if (row.case, row.seed, method, asked) in wanted]


def summaries(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    """(case, method, rows over the seeds), in the order of the cases."""
    for case in CASES:
        here = [row for row in rows if row.case == case]
        for method in dict.fromkeys(row.method for row in here):
            yield case, method, [row for row in here if row.method == method]


def table_of(rows: Sequence[Row]) -> Table:
    """Means over the seeds."""
    table = Table(title="Deep Image Prior, means over seeds")
    for name in ("case", "method", "PSNR dB", "SSIM", "iterations", "seconds", "seeds"):
        table.add_column(name, justify="left" if name in ("case", "method") else "right")
    for case, method, some in summaries(rows):
        psnr, ssim, iterations, seconds = (mean(some, name) for name in ("psnr", "ssim", "iterations", "seconds"))
        table.add_row(case, method, f"{psnr:.2f}", f"{ssim:.3f}", f"{iterations:.0f}", f"{seconds:.1f}", str(len(some)))
    return table


def mean(rows: Sequence[Row], name: str) -> float:
    """Of one field."""
    return statistics.fmean(getattr(row, name) for row in rows)


def add_figures(rows: Sequence[Row], findings: Findings) -> None:
    """Gap of the automatic stop to the oracle, its lead over OpenCV on inpainting, and speed against deepinv."""
    by = {(row.case, row.seed, row.method): row for row in rows}
    pairs = [(row, by.get((row.case, row.seed, AUTOMATIC_STOP))) for row in rows if row.method == ORACLE]
    gaps = [oracle.psnr - stopped.psnr for oracle, stopped in pairs if stopped is not None]
    if gaps:
        findings.add("gap_mean", statistics.fmean(gaps), "dB")
        findings.add("gap_largest", max(gaps), "dB")
    leads = [row.psnr - by[key].psnr for key, row in _stopped(by, "opencv inpaint")]
    if leads:
        findings.add("inpaint_over_opencv_least", min(leads), "dB")
    speeds = [
        speed for oracle, _ in pairs if (speed := speed_up(oracle, by.get((oracle.case, oracle.seed, "deepinv, oracle peak"))))
    ]
    if speeds:
        findings.add("deepinv_seconds_over_ours_median", statistics.median(speeds), "x")
        findings.add("deepinv_seconds_over_ours_least", min(speeds), "x")


def policy_notes(rows: Sequence[Row]) -> Iterator[str]:
    """How far below the peak the policies would have stopped that were only asked."""
    peaks = {(row.case, row.seed): row for row in rows if row.method == ORACLE}
    for name in OTHER_POLICIES:
        some = [row for row in rows if row.method == asked_only(name)]
        gaps = [max(0.0, peaks[row.case, row.seed].psnr - row.psnr) for row in some if (row.case, row.seed) in peaks]
        if gaps:
            where = f"{statistics.fmean(gaps):.2f} dB below the peak on average, {max(gaps):.2f} at most"
            yield f"{name} alone would have stopped {where}, after {mean(some, 'iterations'):.0f} iterations ({len(gaps)} fits)"


def shown(rows: Sequence[Row]) -> list[Row]:
    """Those that the table has: without the policies that were only asked."""
    return [row for row in rows if row.method not in map(asked_only, OTHER_POLICIES)]


def _stopped(by: dict[tuple[str, int, str], Row], other: str) -> list[tuple[tuple[str, int, str], Row]]:
    found = [((row.case, row.seed, other), row) for row in by.values() if row.method == AUTOMATIC_STOP]
    return [(key, row) for key, row in found if key in by]


def speed_up(ours: Row, peer: Row | None) -> float | None:
    """The peer's seconds to its best over ours to the same PSNR; None where either is missing or ours never gets there."""
    reached = None if peer is None else next((point[1] for point in ours.curve if point[2] >= peer.psnr), None)
    return None if peer is None or not reached else peer.seconds / reached


def quality_rows(rows: Sequence[Row]) -> list[QualityRow]:
    """Means over the seeds in the format of the results."""
    made = []
    for case, method, some in summaries(rows):
        sigma = 25.0 if case.startswith("denoise") else None
        psnr, ssim, seconds = (mean(some, name) for name in ("psnr", "ssim", "seconds"))
        made.append(
            QualityRow(set=f"dip {case}", sigma=sigma, method=method, psnr=psnr, ssim=ssim, images=len(some), seconds=seconds)
        )
    return made


def side(text: str) -> int:
    """0, or at least LEAST_SIDE, for argparse."""
    value = int(text)
    if value != 0 and value < LEAST_SIDE:
        raise argparse.ArgumentTypeError(f"{text} is neither 0 nor at least {LEAST_SIDE}")
    return value


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    options = parser(__doc__.partition("\n")[0] if __doc__ else None)
    add = options.add_argument
    add("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="folder of the test sets")
    add("--cases", type=lambda text: text.split(","), default=list(CASES), help=f"comma-separated, of: {','.join(CASES)}")
    add("--methods", type=lambda text: text.split(","), default=list(METHODS), help=f"comma-separated, of: {','.join(METHODS)}")
    add("--seeds", type=positive, default=3, help="how many, from 0")
    add("--size", type=side, default=256, help="side of the centre that is cut out, pixels; 0: the whole image")
    add("--width", choices=("quality", "balanced", "draft"), default="balanced", help="of our network")
    add("--stopping", default="auto", help="our policy")
    add("--max-iterations", type=positive, help="of our loop; the preset's if left out")
    add("--peer-iterations", type=positive, default=2500, help="of deepinv's loop")
    add("--every", type=positive, default=10, help="iterations between two looks at the truth")
    add(
        "--beyond",
        type=positive,
        default=1000,
        help="iterations without a new peak after which a fit of ours that has stopped ends",
    )
    add("--limit", type=positive, metavar="N", help="measure at most N pieces that are not kept yet, then show the table")
    add("--ledger", type=Path, default=LEDGER, metavar="FILE", help="where finished rows are kept")
    add(
        "--strips",
        type=Path,
        default=STRIPS,
        metavar="DIR",
        help="for measured | OpenCV | ours | truth, a picture of each fit of ours",
    )
    add("--device", default="cpu", help="of our loop: auto, cpu or cuda")
    return options.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    arguments = arguments_of(words)
    unknown = [*(set(arguments.cases) - set(CASES)), *(set(arguments.methods) - set(METHODS))]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; --help lists what there is", file=sys.stderr)
        return 2
    torch.set_num_threads(arguments.threads)
    work = work_of(arguments)
    measure(work, arguments)
    rows, findings = kept_rows(work, arguments), Findings()
    if not rows:
        print("no test images, so nothing was measured: pass --data DIR")
        return 0
    wide_console().print(table_of(shown(rows)))
    add_figures(rows, findings)
    findings.rows += quality_rows(shown(rows))
    summary = summaries(shown(rows))
    findings.notes += [f"{case}, {method}: {mean(some, 'iterations'):.0f} iterations" for case, method, some in summary]
    findings.notes += policy_notes(rows)
    findings.settings |= {"size": arguments.size, "width": arguments.width, "seeds": arguments.seeds}
    return finish(
        "dip", arguments, findings, host_facts(arguments.threads), Model(name=f"skip network, {arguments.width}", sha256="")
    )


if __name__ == "__main__":
    exit_with(main)
