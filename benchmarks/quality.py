"""PSNR and SSIM of the model on the standard test sets, beside the noisy input and classical methods.

Protocol: noise N(0, sigma^2) is added in float, seeded by the image's place in its set and the same for every method; the input
is not clipped, the output is clipped to [0, 1] and not rounded; PSNR over all channels for each image, then the mean. SSIM with a
Gaussian window of sigma 1.5, data range 1, population covariance, averaged over channels. Methods that take a noise level get
the true one, which favours them; the model is blind.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.arguments import Findings, exit_with, finish, parser, positive, wide_console
from benchmarks.images import DEFAULT_DATA, SETS, FloatPixels, Sample, add_noise, as_float, evenly, find_samples, read_pixels
from benchmarks.machine import host_facts
from benchmarks.metrics import psnr, ssim
from benchmarks.models import find_onnx, is_checkpoint, model_facts, open_checkpoint
from benchmarks.peers.classical import available_baselines, missing_baselines
from benchmarks.schema import Model
from benchmarks.scores import MODEL, NOISY, SUPERVISED, Score, SetScores, quality_table
from benchmarks.strips import write_strip
from restore_sdk.restorer import Restorer

Method = Callable[[FloatPixels, float], FloatPixels]  # noisy image and sigma (0-255 scale) -> restored
Entry = tuple[Method, set[int]]  # a method and the indices of the images it runs on
Restorers = Mapping[str, Restorer]
STRIPS = Path("out/benchmarks")


def measure(name: str, samples: Sequence[Sample], sigmas: Sequence[float], methods: Mapping[str, Entry]) -> list[SetScores]:
    """Scores on a set with a reference, one SetScores for each noise level."""
    real = SETS[name].noise == "real"
    levels: list[float | None] = [None] if real else list(sigmas)
    results = [SetScores(name, sigma) for sigma in levels]
    for sample in samples:
        clean = as_float(read_pixels(_present(sample.clean), gray=SETS[name].gray))
        for scores in results:
            noisy, sigma = _noisy_version(sample, clean, scores.sigma)
            for method, (run, images) in methods.items():
                if sample.index in images:
                    scores.add(method, sample.index, _score(run, noisy, clean, sigma))
    return results


def _noisy_version(sample: Sample, clean: FloatPixels, sigma: float | None) -> tuple[FloatPixels, float]:
    """The noisy image and its noise level: drawn, or for real noise measured against the reference."""
    if sigma is not None:
        return add_noise(clean, sigma, sample.index), sigma
    noisy = as_float(read_pixels(_present(sample.noisy)))
    return noisy, 255 * float(np.std(noisy - clean))


def _score(run: Method, noisy: FloatPixels, clean: FloatPixels, sigma: float) -> Score:
    begin = time.perf_counter()
    restored = run(noisy, sigma)
    seconds = time.perf_counter() - begin
    return Score(psnr(restored, clean), ssim(restored, clean), seconds)


def restoring(restorer: Restorer) -> Method:
    """The model as a method: blind, so it is not told the noise level."""
    return lambda noisy, _: np.asarray(restorer.restore(noisy), np.float32)


def write_strips(name: str, samples: Sequence[Sample], restorer: Restorer, folder: Path) -> int:
    """Before | after PNGs of a set without a reference, for the eye. Returns how many."""
    for sample in samples:
        path = _present(sample.noisy)
        noisy = read_pixels(path, gray=SETS[name].gray)
        write_strip(folder / f"{path.stem}.png", [[noisy, np.asarray(restorer.restore(noisy), np.uint8)]], "--strips")
    return len(samples)


def _present(path: Path | None) -> Path:
    if path is None:
        raise ValueError("the set has no such file for this image")
    return path


def add_figures(findings: Findings, results: Sequence[SetScores], *, complete: bool) -> None:
    """The figures that the gates look at. Absolute levels count on whole sets only, gains on any part."""
    for scores in results:
        level = "" if scores.sigma is None else f"_sigma{scores.sigma:g}"
        if complete:
            findings.add(f"{scores.name}{level}_psnr", scores.mean(MODEL).psnr, "dB")
        findings.add(f"{scores.name}{level}_gain", scores.gain(), "dB")
        best = scores.best_classical()
        if best is not None:
            findings.add(f"{scores.name}{level}_over_classical", scores.gain(over=best), "dB")


def run_set(name: str, samples: list[Sample], arguments: argparse.Namespace, restorers: Restorers, findings: Findings) -> None:
    """Measure one set, print its table, and keep rows and figures."""
    if SETS[name].noise == "unreferenced":
        count = write_strips(name, samples, restorers[MODEL], arguments.strips / name)
        findings.notes.append(f"{SETS[name].title}: {count} before | after strips in {arguments.strips / name}")
        return
    results = measure(name, samples, arguments.sigmas, methods_for(samples, arguments, restorers))
    rows = [row for scores in results for row in scores.rows()]
    for title in dict.fromkeys(row.set for row in rows):
        wide_console().print(quality_table(title.replace(name, SETS[name].title, 1), [row for row in rows if row.set == title]))
    findings.rows += rows
    add_figures(findings, results, complete=arguments.limit is None)


def methods_for(samples: Sequence[Sample], arguments: argparse.Namespace, restorers: Restorers) -> dict[str, Entry]:
    """Every row of the table, in its order."""
    everywhere = {sample.index for sample in samples}
    some = {sample.index for sample in evenly(samples, arguments.baseline_limit)}
    classical = available_baselines() if arguments.baselines else {}
    return {
        NOISY: (lambda noisy, _: noisy, everywhere),
        **{title: (run, some) for title, run in classical.items()},
        **{title: (restoring(restorer), everywhere) for title, restorer in restorers.items()},
    }


def open_model(model: str, threads: int) -> tuple[Restorer, Model]:
    """A Restorer for a bundled name, an ONNX file or a checkpoint, and the facts of its model."""
    if is_checkpoint(model):
        backend, facts = open_checkpoint(Path(model), threads)
        return Restorer(backend, tile=None), facts
    return Restorer(model, device="cpu", threads=threads), model_facts(find_onnx(model))


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    options = parser(__doc__.partition("\n")[0] if __doc__ else None)
    add = options.add_argument
    add("--data", type=Path, metavar="DIR", help="folder of the test sets; None: ../shared/data beside the repository")
    add("--sets", type=set_names, default=list(SETS), help=f"comma-separated, of: {','.join(SETS)}")
    add("--sigmas", type=noise_levels, default=[5.0, 15.0, 25.0, 50.0], help="comma-separated, 0-255 scale")
    add("--limit", type=positive, metavar="N", help="images of each set, spread evenly; absolute limits are then not checked")
    add("--baselines", action="store_true", help="also run the classical methods that are installed")
    add("--baseline-limit", type=positive, metavar="N", help="run those on N images of each set only")
    add("--supervised", metavar="ONNX", help="the same network trained with clean targets, as one more row")
    add("--strips", type=Path, default=STRIPS, metavar="DIR", help="for before | after strips of sets without a reference")
    return options.parse_args(words)


def set_names(text: str) -> list[str]:
    """Names of sets, for argparse."""
    names = text.split(",")
    unknown = [name for name in names if name not in SETS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown set {unknown[0]!r}; use {', '.join(SETS)}")
    return names


def noise_levels(text: str) -> list[float]:
    """Noise levels above 0, for argparse."""
    levels = [float(word) for word in text.split(",")]
    if min(levels) <= 0:
        raise argparse.ArgumentTypeError("each sigma must be above 0")
    return levels


def main(words: Sequence[str] | None = None) -> int:
    arguments = arguments_of(words)
    present = present_sets(arguments.sets, arguments.data or DEFAULT_DATA)
    if not present:
        print("no test images, so nothing was measured: name the sets' folders as benchmarks/README.md does and pass --data DIR")
        return 2 if arguments.data else 0
    cv2.setNumThreads(arguments.threads)
    restorer, facts = open_model(arguments.model, arguments.threads)
    restorers = {MODEL: restorer}
    if arguments.supervised:
        restorers[SUPERVISED] = open_model(arguments.supervised, arguments.threads)[0]
    findings = Findings(notes=protocol_notes(arguments))
    for name, samples in present.items():
        run_set(name, evenly(samples, arguments.limit), arguments, restorers, findings)
    findings.settings |= {"sets": list(present), "sigmas": arguments.sigmas, "limit": arguments.limit or 0}
    findings.settings["baseline_limit"] = arguments.baseline_limit or 0
    return finish("quality", arguments, findings, host_facts(arguments.threads), facts)


def present_sets(names: Sequence[str], data: Path) -> dict[str, list[Sample]]:
    """The sets that are there, and a line on stdout for each that is not."""
    found = {name: find_samples(name, data) for name in names}
    for name in names:
        if not found[name]:
            print(f"{SETS[name].title}: not found, left out")
    return {name: samples for name, samples in found.items() if samples}


def protocol_notes(arguments: argparse.Namespace) -> list[str]:
    """What a reader must know to compare the table with another."""
    notes = ["noise is added in float and not clipped; outputs are clipped to [0, 1]; the noisy input is scored unclipped"]
    if arguments.baselines:
        notes.append("classical methods get the true sigma (real noise: measured against the reference); OpenCV gets 8 bits")
        notes += [f"{title} was left out: {module} is not installed" for title, module in missing_baselines().items()]
    if arguments.limit is not None:
        notes.append(f"at most {arguments.limit} images of each set: absolute PSNR limits need whole sets and were not checked")
    return notes


if __name__ == "__main__":
    exit_with(main)
