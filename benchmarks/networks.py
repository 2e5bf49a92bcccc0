"""Candidate networks trained on an equal budget: dB against seconds per megapixel, as a whole and in exact tiles.

Each is trained with the data, loss and settings of configs/denoise.toml for the same seconds or, where the machine is shared, for
the same steps (the candidates cost about the same arithmetic), exported, and measured through Restorer on ONNX Runtime. PSNR is
taken on the images of BSDS500 val that are not in CBSD68, so that the choice is not made on the test set. Exact tiles compute
more pixels than the image has, the more the larger the network's receptive radius: the second time of each candidate is what
a large image costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.arguments import Findings, exit_with, finish, positive, timing_table, wide_console
from benchmarks.images import DEFAULT_DATA, Sample, add_noise, as_float, evenly, find_samples, photograph, read_pixels
from benchmarks.machine import available_cores, host_facts
from benchmarks.metrics import psnr, ssim
from benchmarks.models import model_facts
from benchmarks.observed_tiles import observe_tiles
from benchmarks.rounds import Timing, Work, interleave
from benchmarks.schema import Model
from benchmarks.scores import NOISY, Score, SetScores, quality_table
from export.produce import ExportOptions, export_onnx
from restore_sdk.options import TileOptions
from restore_sdk.restorer import Restorer
from training.engine.config import read_config
from training.engine.fit import fit
from training.self_supervised.config import SelfSupervisedConfig
from training.self_supervised.run import make_run

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "denoise.toml"
SIGMAS = (15.0, 25.0, 50.0)
SHOWN_SIGMA = 25.0
CANDIDATES: Mapping[str, Mapping[str, object]] = {
    "64-128": {"widths": [64, 128], "blocks": [1, 1], "unshuffle": 2},
    "48-96-192": {"widths": [48, 96, 192], "blocks": [1, 1, 1], "unshuffle": 2},
    "128-flat": {
        "widths": [128],
        "blocks": [2],
        "unshuffle": 4,
    },  # one scale: 8 plain convolutions at a quarter of the resolution
}
Size = tuple[int, int]  # height, width


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trained and exported network. Times are seconds per megapixel of the image; overlap: computed pixels / image pixels."""

    name: str
    facts: Model
    steps: int
    psnr: float  # at SHOWN_SIGMA, dB
    whole: float
    tiled: float
    overlap: float


def train(name: str, arguments: argparse.Namespace) -> Path:
    """Train candidate `name` for the budget allowed, unless an earlier run is to be used again; its run folder."""
    if arguments.reuse and (arguments.work / name / "model.safetensors").is_file():
        return Path(arguments.work / name)
    folders = [(arguments.data / "bsds500" / part).as_posix() for part in ("train", "test")]
    settings: dict[str, object] = {f"network.{key}": value for key, value in CANDIDATES[name].items()}
    settings |= {"name": name, "run_root": arguments.work.as_posix(), "data.folders": folders}
    settings |= {"trainer.threads": arguments.threads, "trainer.accelerator": "cpu"}
    settings["trainer.max_seconds"] = 10**6 if arguments.steps else arguments.seconds
    settings["trainer.max_steps"] = arguments.steps or 10**6
    settings["trainer.validate_every"] = 10**6  # once, at the end
    overrides = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    return fit(make_run(read_config(SelfSupervisedConfig, CONFIG, overrides)), overwrite=True)


def export(folder: Path, arguments: argparse.Namespace) -> Path:
    """The ONNX file of the run in `folder`."""
    return export_onnx(folder, folder / "model.onnx", ExportOptions(threads=arguments.threads)).path


def held_out(data: Path) -> list[Sample]:
    """BSDS500 val without CBSD68: never trained on, never reported as a test."""
    tested = {sample.clean for sample in find_samples("cbsd68", data)}
    paths = [path for path in sorted((data / "bsds500" / "val").glob("*.jpg")) if path not in tested]
    return [Sample(index, path) for index, path in enumerate(paths)] if tested else []


def measure_quality(restorers: Mapping[str, Restorer], samples: Sequence[Sample]) -> list[SetScores]:
    """PSNR and SSIM of the noisy input and of each candidate, one SetScores for each noise level."""
    results = [SetScores("bsds500-val-not-cbsd68", sigma) for sigma in SIGMAS]
    for sample in samples:
        if sample.clean is None:
            continue
        clean = as_float(read_pixels(sample.clean))
        for result, sigma in zip(results, SIGMAS, strict=True):
            noisy = add_noise(clean, sigma, sample.index)
            result.add(NOISY, sample.index, Score(psnr(noisy, clean), ssim(noisy, clean), 0.0))
            for name, restorer in restorers.items():
                restored = restorer.restore(noisy, tile=None)
                result.add(name, sample.index, Score(psnr(restored, clean), ssim(restored, clean), 0.0))
    return results


def measure_time(restorers: Mapping[str, Restorer], arguments: argparse.Namespace, findings: Findings) -> dict[str, Timing]:
    """All candidates, whole and in exact tiles, interleaved: "<name> whole" and "<name> tiles"."""
    image = photograph(*arguments.size, arguments.data)
    tiles = TileOptions(core=arguments.core)
    variants: dict[str, Work] = {}
    for name, restorer in restorers.items():
        variants[f"{name} whole"] = partial(restorer.restore, image, tile=None)
        variants[f"{name} tiles"] = partial(restorer.restore, image, tile=tiles)
    timings = interleave(variants, arguments.rounds)
    case = f"{arguments.size[1]}x{arguments.size[0]}, whole and exact tiles with cores of {arguments.core}"
    rows = [timing.row(case, name) for name, timing in timings.items()]
    findings.rows += rows
    wide_console().print(timing_table(case, rows))
    return timings


def summarise(
    name: str,
    restorer: Restorer,
    scores: Sequence[SetScores],
    timings: Mapping[str, Timing],
    *,
    facts: Model,
    arguments: argparse.Namespace,
) -> Candidate:
    """What the plot shows of one candidate."""
    megapixels = arguments.size[0] * arguments.size[1] / 1e6
    shown = next(result for result in scores if result.sigma == SHOWN_SIGMA)
    return Candidate(
        name=name,
        facts=facts,
        steps=int(restorer.spec.source.get("steps", 0)),
        psnr=shown.mean(name).psnr,
        whole=timings[f"{name} whole"].median / megapixels,
        tiled=timings[f"{name} tiles"].median / megapixels,
        overlap=observe_tiles(restorer.spec, *arguments.size, TileOptions(core=arguments.core)).overhead,
    )


def record(candidate: Candidate, findings: Findings) -> None:
    """The figures of one candidate; tiles_over_formula is how much dearer tiles are than the pixels that they compute."""
    figures: dict[str, tuple[float | int | None, str]] = {
        "parameters": (candidate.facts.parameters, ""),
        "gflop_per_megapixel": (candidate.facts.gflop_per_megapixel, "GFLOP/MP"),
        "receptive_radius": (candidate.facts.receptive_radius, "px"),
        "steps": (candidate.steps, ""),
        f"psnr_{SHOWN_SIGMA:g}": (candidate.psnr, "dB"),
        "whole": (candidate.whole, "s/MP"),
        "tiles": (candidate.tiled, "s/MP"),
        "tiles_by_formula": (candidate.whole * candidate.overlap, "s/MP"),
        "tiles_over_formula": (candidate.tiled / (candidate.whole * candidate.overlap), "x"),
        "overlap": (candidate.overlap, "x"),
    }
    for key, (value, unit) in figures.items():
        if value is not None:
            findings.add(f"{candidate.name}_{key}", float(value), unit)


def plot(candidates: Sequence[Candidate], path: Path, *, budget: str, core: int) -> None:
    """dB against seconds per megapixel: a filled point for the whole image, joined to a hollow one for exact tiles."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (only with --plot)

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, candidate in enumerate(candidates):
        times, height = (candidate.whole, candidate.tiled), candidate.psnr
        axes.plot(times, (height, height), color=f"C{number}", linewidth=1.5)
        axes.scatter(times[:1], [height], color=f"C{number}", s=60, zorder=3)
        axes.scatter(times[1:], [height], facecolors="white", edgecolors=f"C{number}", s=60, zorder=3)
        label = (
            f"{candidate.name} ({(candidate.facts.parameters or 0) / 1e6:.2f} M, radius {candidate.facts.receptive_radius} px)"
        )
        axes.annotate(label, (statistics.fmean(times), height), (0, 8), textcoords="offset points", ha="center", fontsize=9)
    axes.set_title(f"{budget} of training each; filled: whole image, hollow: exact tiles, cores of {core} px", fontsize=10)
    axes.set(xlabel="seconds per megapixel, ONNX Runtime on the CPU", ylabel=f"PSNR at sigma {SHOWN_SIGMA:g}, dB")
    axes.margins(0.25, 0.25)
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def budget_in_words(arguments: argparse.Namespace) -> str:
    """The training that each candidate had."""
    return f"{arguments.steps} steps" if arguments.steps else f"{arguments.seconds} s"


def run(arguments: argparse.Namespace, findings: Findings) -> list[Candidate]:
    """Train, export and measure all candidates."""
    paths = {name: export(train(name, arguments), arguments) for name in CANDIDATES}
    facts = {name: model_facts(path) for name, path in paths.items()}
    with ExitStack() as opened:
        restorers = {
            name: opened.enter_context(Restorer(path, device="cpu", threads=arguments.threads)) for name, path in paths.items()
        }
        scores = measure_quality(restorers, evenly(held_out(arguments.data), arguments.limit))
        timings = measure_time(restorers, arguments, findings)
        found = [
            summarise(name, restorer, scores, timings, facts=facts[name], arguments=arguments)
            for name, restorer in restorers.items()
        ]
    rows = [row for result in scores for row in result.rows()]
    findings.rows += rows
    wide_console().print(quality_table("BSDS500 val without CBSD68", rows))
    return found


def image_size(text: str) -> Size:
    """HEIGHTxWIDTH, for argparse."""
    height, _, width = text.partition("x")
    return positive(height), positive(width)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0] if __doc__ else None, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seconds", type=positive, default=150, help="of training for each candidate")
    parser.add_argument("--steps", type=positive, default=None, help="of training for each candidate, in place of --seconds")
    parser.add_argument("--reuse", action="store_true", help="measure the runs in --work again instead of training anew")
    parser.add_argument("--threads", type=positive, default=available_cores(), help="for training and for measuring")
    parser.add_argument("--size", type=image_size, default=(2048, 2048), metavar="HxW", help="photograph that is timed")
    parser.add_argument("--core", type=positive, default=512, help="kept side of exact tiles, pixels")
    parser.add_argument("--rounds", type=positive, default=3, help="of timing")
    parser.add_argument("--limit", type=positive, default=None, help="images to score; all by default")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("out/networks"), help="folder for the runs; earlier ones are replaced")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the results to this file")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="write the picture to this file")
    parser.set_defaults(save=False, no_gates=True)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    arguments = make_parser().parse_args(words)
    if not held_out(arguments.data):
        print(f"{arguments.data} holds no bsds500/val beside a complete cbsd68.txt; pass --data")
        return 2
    findings = Findings()
    candidates = run(arguments, findings)
    for candidate in candidates:
        record(candidate, findings)
    findings.settings |= {
        "budget": budget_in_words(arguments),
        "core": arguments.core,
        "size": "x".join(map(str, arguments.size)),
    }
    findings.notes.append("images scored: BSDS500 val without CBSD68, so that the choice is not made on the test set")
    if arguments.plot:
        plot(candidates, arguments.plot, budget=budget_in_words(arguments), core=arguments.core)
    return finish("networks", arguments, findings, host_facts(arguments.threads), Model(name="candidate networks", sha256=""))


if __name__ == "__main__":
    exit_with(main)
