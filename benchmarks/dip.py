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
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import torch

from benchmarks.arguments import Findings, exit_with, finish, natural, parser, positive, wide_console
from benchmarks.dip_cases import CASES, PAPER, Case, Trial, is_here, open_trial
from benchmarks.dip_findings import add_figures, fit_rows, key_of, policy_notes, shown, table_of
from benchmarks.dip_trials import Row, run_opencv, run_ours, run_peer, way_of, with_way
from benchmarks.images import DEFAULT_DATA, FloatPixels, as_bytes
from benchmarks.machine import host_facts, source_commit
from benchmarks.peers.deep_image_prior import is_installed
from benchmarks.schema import Model
from benchmarks.strips import write_strip
from restore_sdk.cli.dip_memory import freed_memory_kept
from restore_sdk.dip.devices import dip_device
from restore_sdk.dip.options import DipOptions, Precision, Width
from restore_sdk.dip.results import FitProgress

METHODS = ("opencv", "ours", "deepinv")
WIDTHS, PRECISIONS = get_args(Width), get_args(Precision)
SECONDS_BETWEEN_LINES = 30.0
LEAST_SIDE = 32  # pixels
LEDGER, STRIPS = Path("out/benchmarks/dip.jsonl"), Path("out/benchmarks/dip")
Measured = tuple[list[Row], FloatPixels | None]
Work = tuple[Case, int, str, str]  # case, seed, method, width and precision of ours as way_of() has them


def work_of(arguments: argparse.Namespace) -> list[Work]:
    """What is to be measured, seed after seed, so that a run that is cut short has every case at least once."""
    chosen = dict.fromkeys(CASES[name].measured_as(arguments.size) for name in arguments.cases)
    cases = [CASES[name] for name in chosen if is_here(CASES[name], arguments.data)]
    peer_runs = is_installed() and arguments.device == "cpu"  # elsewhere its seconds would not be of the same machine as ours
    methods = [name for name in arguments.methods if name != "deepinv" or peer_runs]
    own = [
        way_of(DipOptions(width=width, precision=precision, compiled=compiled))
        for width in arguments.width
        for precision in arguments.precision
        for compiled in ((False, True) if arguments.compiled else (False,))
    ]
    ways = [(method, way) for method in methods for way in (own if method == "ours" else [""])]
    return [(case, seed, *way) for seed in range(arguments.seeds) for case in cases for way in ways]


def settings_of(method: str, way: str, arguments: argparse.Namespace) -> str:
    """What must be equal for a kept row to stand for this run."""
    shared = f"size={arguments.size}"
    if method == "opencv":
        return shared
    usual = (arguments.device, arguments.threads) == ("cpu", 1)
    place = "" if usual else f" device={arguments.device} threads={arguments.threads}"
    if method == "deepinv":
        return f"{shared} iterations={arguments.peer_iterations}{place}"
    limits = f"iterations={arguments.max_iterations} beyond={arguments.beyond}"
    return f"{shared} width={way} {limits} stopping={arguments.stopping}{place}"


def read_rows(path: Path) -> list[tuple[str, str, Row]]:
    """(method asked for, its settings, row) of every line; what is no such line, as a last one that was cut off, is left out."""
    found = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            kept = json.loads(line)
            found.append((kept["work"], kept["asked"], Row(**kept["row"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def keep_rows(path: Path, method: str, asked: str, rows: Sequence[Row], commit: str) -> None:
    """Append the rows of one piece of work in one write, as measured at `commit`."""
    kept = [dataclasses.asdict(dataclasses.replace(row, commit=commit)) for row in rows]
    lines = [json.dumps({"work": method, "asked": asked, "row": row}) + "\n" for row in kept]
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(["" if _ends_whole(path) else "\n", *lines]))
        file.flush()
        os.fsync(file.fileno())


def _ends_whole(path: Path) -> bool:
    """Whether what comes next begins on a line of its own."""
    content = path.read_bytes()
    return not content or content.endswith(b"\n")


def measure(work: Sequence[Work], arguments: argparse.Namespace) -> None:
    """Do what is not kept yet, at most --limit pieces of it."""
    done = {(row.case, row.seed, method, asked) for method, asked, row in read_rows(arguments.ledger)}
    to_do = [(*piece, settings_of(piece[2], piece[3], arguments)) for piece in work]
    to_do = [piece for piece in to_do if (piece[0].name, piece[1], piece[2], piece[4]) not in done]
    chosen = to_do[: arguments.limit]
    commit = source_commit()  # now: the tree may have moved on when the last fit ends
    print(f"{len(work) - len(to_do)} of {len(work)} are kept in {arguments.ledger.name}; {len(chosen)} follow now")
    for number, (case, seed, method, way, asked) in enumerate(chosen, 1):
        title = f"[{number}/{len(chosen)}] {case.name}, seed {seed}, {method} {way}"
        print(title, flush=True)
        trial = open_trial(case, arguments.data, arguments.size, seed)
        rows, result = run_one(trial, seed, (method, way), arguments)
        keep_rows(arguments.ledger, method, asked, rows, commit)
        if result is not None:
            draw(arguments.strips / f"{case.name}-{trial.clean.shape[0]}-{way.replace(' ', '-')}-{seed}.png", trial, result)
        for row in rows:
            print(f"  {row.method}: {row.psnr:.2f} dB, {row.iterations} iterations, {row.seconds:.1f} s {row.stop}", flush=True)


def run_one(trial: Trial, seed: int, method_and_way: tuple[str, str], arguments: argparse.Namespace) -> Measured:
    """The rows of one method, and of one width and precision of ours, and what ours made."""
    method, way = method_and_way
    if method == "opencv":
        return run_opencv(trial, seed), None
    options = DipOptions(stopping=arguments.stopping, seed=seed, max_iterations=arguments.max_iterations)
    if method == "ours":
        how = {"device": arguments.device, "every": arguments.every, "beyond": arguments.beyond}
        return run_ours(trial, with_way(options, way), **how, on_progress=spoken())
    return run_peer(trial, options, arguments.peer_iterations, arguments.every), None


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
    """The rows of this run's work, measured now or before; the first where two runs beside one another measured the same."""
    wanted = {(case.name, seed, method, settings_of(method, way, arguments)) for case, seed, method, way in work}
    found = [row for method, asked, row in read_rows(arguments.ledger) if (row.case, row.seed, method, asked) in wanted]
    rows = list({key_of(row): row for row in reversed(found)}.values())[::-1]
    stands_for = {name: CASES[name].measured_as(arguments.size) for name in arguments.cases}
    return [dataclasses.replace(row, case=name) for name, measured in stands_for.items() for row in rows if row.case == measured]


def names(text: str) -> list[str]:
    """Comma-separated, each once, for argparse."""
    return list(dict.fromkeys(text.split(",")))


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
    add("--cases", type=names, default=PAPER, help=f"comma-separated, of: {','.join(CASES)}")
    add("--methods", type=names, default=list(METHODS), help=f"comma-separated, of: {','.join(METHODS)}")
    add("--seeds", type=positive, default=3, help="how many, from 0")
    add("--size", type=side, default=256, help="side of the centre that is cut out, pixels; 0: the whole image")
    add("--width", type=names, default=["balanced"], help=f"of ours, comma-separated, of: {','.join(WIDTHS)}")
    add(
        "--precision",
        type=names,
        default=["fp32"],
        help=f"of ours, comma-separated, of: {','.join(PRECISIONS)}; all but fp32 on a GPU only",
    )
    add("--compiled", action="store_true", help="ours through torch.compile too; on a GPU only")
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
    add("--limit", type=natural, metavar="N", help="measure at most N pieces not kept yet (0: none), then show the table")
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
    known = (arguments.cases, CASES), (arguments.methods, METHODS), (arguments.width, WIDTHS), (arguments.precision, PRECISIONS)
    unknown = [name for names, choices in known for name in names if name not in choices]
    if unknown:
        print(f"unknown: {', '.join(map(repr, unknown))}; --help lists what there is", file=sys.stderr)
        return 2
    if "ours" in arguments.methods:  # refused now, not after hours of other fits
        for precision in arguments.precision:
            dip_device(arguments.device, precision, compiled=arguments.compiled)
        DipOptions(stopping=arguments.stopping, max_iterations=arguments.max_iterations)
    for folder in (arguments.ledger.parent, arguments.strips):
        folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    work = work_of(arguments)
    with freed_memory_kept():  # as the command does
        measure(work, arguments)
    rows, findings = kept_rows(work, arguments), Findings()
    if not rows:
        print("nothing is kept of these yet" if work else "no test images, so nothing was measured: pass --data DIR")
        return 0
    wide_console().print(table_of(fit_rows(shown(rows), arguments.size)))
    add_figures(rows, findings)
    findings.rows += fit_rows(shown(rows), arguments.size)
    commits = sorted({row.commit or "earlier commits" for row in rows})
    findings.notes += [*policy_notes(rows), f"rows measured at {', '.join(commits)}"]
    findings.settings |= {name: getattr(arguments, name) for name in ("size", "width", "precision", "seeds")}
    model = Model(name=f"skip network, {', '.join(arguments.width)}", sha256="")
    return finish("dip", arguments, findings, host_facts(arguments.threads), model)


if __name__ == "__main__":
    exit_with(main)
