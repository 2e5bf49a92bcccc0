"""UNIR on CIFAR-10 at 32x32, learnt from corrupted images only: what each part of the method gives, and what others give.

Each of four corruptions has the rows of ROWS. Those that are trained share network, data, seed and budget, which is CPU time of
this process, so that other programs on the machine do not shorten it. Finished rows are kept in --work, and a training that is
interrupted goes on where it was: call it again until nothing is left, or with --rows 1 to do one row at a time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from skimage.metrics import structural_similarity

from benchmarks.arguments import Findings, exit_with, finish, positive, wide_console
from benchmarks.images import DEFAULT_DATA
from benchmarks.machine import host_facts
from benchmarks.metrics import psnr
from benchmarks.peers import uair
from benchmarks.peers.classical import nl_means, opencv_nl_means
from benchmarks.peers.inpainting import Marked, Pixels, opencv_inpaint
from benchmarks.schema import Model, QualityRow
from restore_sdk.degradations import parse
from training.data.corrupted import Observations, observe_once
from training.engine.checkpoint import load_network
from training.engine.config import read_config
from training.engine.files import replacing
from training.engine.fit import fit
from training.unir.config import UnirConfig
from training.unir.module import UnirModule
from training.unir.run import make_run

Settings = Mapping[str, object]
TEST_SEED = 1_000_003  # of the corruption of test images
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "unir-remove-pixel.toml"
NOISE = 0.15 * 255  # of convolve-noise, which non-local means is told

CORRUPTIONS: Mapping[str, Settings] = {
    "remove-pixel": {"corruption": "remove-pixel:p=0.9"},
    "remove-pixel-channel": {"corruption": "remove-pixel-channel:p=0.9"},
    "convolve-noise": {"corruption": "convolve-noise", "network.kind": "direct_unet"},
    "patch-band": {"corruption": "patch-band:share=0.3", "loss.split_by": "corruption"},
}
# What a corruption needs besides, by the letters of rows; deepinv's losses, in (c), know neither
BESIDES: Mapping[str, Mapping[str, Settings]] = {"convolve-noise": {"de": {"loss.r1": 0.05}, "fg": {"loss.smoothness": 0.05}}}
PUBLISHED: Settings = {"loss.adversarial": 1.0, "loss.remeasure": 8.0, "loss.splitting": 0.0, "trainer.learning_rate": 2e-4}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a function of the corrupted image and its mask, or settings to train with."""

    title: str
    function: Callable[[Pixels, Marked], Pixels] | None = None
    settings: Settings = field(default_factory=dict)
    module: type[UnirModule] = UnirModule
    masks: bool | None = None  # for corruptions with a mask alone, without alone, or (None) for all


ROWS: Mapping[str, Row] = {
    "a": Row("(a) corrupted input", lambda corrupted, lost: corrupted),
    "b1": Row("(b) OpenCV inpaint, Telea", opencv_inpaint(cv2.INPAINT_TELEA), masks=True),
    "b2": Row("(b) OpenCV inpaint, Navier-Stokes", opencv_inpaint(cv2.INPAINT_NS), masks=True),
    "b3": Row("(b) OpenCV non-local means", lambda corrupted, lost: opencv_nl_means(corrupted, NOISE), masks=False),
    "b4": Row("(b) scikit-image non-local means", lambda corrupted, lost: nl_means(corrupted, NOISE), masks=False),
    "c": Row("(c) deepinv UAIR", settings=PUBLISHED, module=uair.UairModule),
    "d": Row("(d) UNIR as published", settings=PUBLISHED),
    "e": Row("(e) UNIR, raw discriminator input", settings={**PUBLISHED, "loss.variant": "raw"}),
    "f": Row("(f) UNIR + measurement splitting"),
    "g": Row("(g) measurement splitting alone", settings={"loss.adversarial": 0.0, "loss.remeasure": 0.0}),
    "h": Row("(h) clean targets, same network", settings={"loss.variant": "supervised", "loss.splitting": 0.0}),
}


def set_names(corruption: str) -> tuple[str, str]:
    """Under which the two halves of a row are recorded."""
    return f"CIFAR-10 {corruption}, hidden pixels", f"CIFAR-10 {corruption}, whole images"


def cifar(data: Path) -> Mapping[str, NDArray[np.uint8]]:
    """The arrays of the subset: "train_images", "test_images", (N, 32, 32, 3) RGB."""
    with np.load(data / "cifar10" / "cifar10_subset.npz") as pack:
        return {name: pack[name] for name in ("train_images", "test_images")}


def training_folder(arguments: argparse.Namespace) -> Path:
    """The training images as files, which the training reads; written once."""
    folder: Path = arguments.work / "cifar10-train"
    images = cifar(arguments.data)["train_images"]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / f"{len(images) - 1:05d}.png").is_file():
        for index, image in enumerate(images):
            cv2.imwrite(str(folder / f"{index:05d}.png"), image[..., ::-1])
    return folder


def configuration(corruption: str, letter: str, arguments: argparse.Namespace) -> UnirConfig:
    """The row's own settings over the corruption's over those that all rows share."""
    settings: dict[str, object] = {
        "name": f"{corruption}-{letter}",
        "run_root": (arguments.work / "runs").as_posix(),
        "data.folders": [training_folder(arguments).as_posix()],
        "data.patch": 32,
        "network.widths": arguments.widths,
        "network.blocks": [1] * len(arguments.widths),
        "trainer.learning_rate": 1e-3,
        "trainer.threads": arguments.threads,
        "trainer.accelerator": "cpu",
        "trainer.max_seconds": arguments.seconds,
        "trainer.max_steps": arguments.steps or 10**6,
        "trainer.validate_every": 1000,
        **CORRUPTIONS[corruption],
        **ROWS[letter].settings,
    }
    for letters, besides in BESIDES.get(corruption, {}).items():
        settings |= besides if letter in letters else {}
    overrides = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    return read_config(UnirConfig, CONFIG, [*overrides, *arguments.set])


def train(corruption: str, letter: str, arguments: argparse.Namespace) -> Callable[[Pixels, Marked], Pixels]:
    """The trained network as a function of one image. Goes on with a training that was interrupted."""
    config = configuration(corruption, letter, arguments)
    run = make_run(config)
    run.budget.clock = time.process_time
    if isinstance(run.module, UnirModule) and ROWS[letter].module is not UnirModule:
        ours = run.module
        run.module = ROWS[letter].module(ours.network, ours.discriminator, config, run.budget, ours.training_theta)
    network, _ = load_network(fit(run, resume=(run.folder / "last.ckpt").is_file(), overwrite=False))

    def function(corrupted: Pixels, lost: Marked) -> Pixels:
        with torch.inference_mode():
            restored = network(torch.from_numpy(corrupted.transpose(2, 0, 1).copy())[None])
        return np.ascontiguousarray(restored[0].numpy().transpose(1, 2, 0))

    return function


@cache
def test_set(corruption: str, data: Path, count: int) -> tuple[Observations, torch.Tensor]:
    """Test images corrupted once, and which of their values are lost (all, where no mask says so)."""
    operator = parse(str(CORRUPTIONS[corruption]["corruption"]))
    observed = observe_once([*cifar(data)["test_images"][:count]], operator, TEST_SEED, keep_clean=True)
    kept = operator.kept(observed.theta)
    whole = torch.ones_like(observed.measured, dtype=torch.bool)
    return observed, whole if kept is None else ~kept.expand_as(whole)


def score(restored: Pixels, clean: Pixels, lost: Marked) -> tuple[float, float, float, float]:
    """PSNR and SSIM of the hidden values, then of the whole image."""
    restored = np.clip(restored, 0, 1)
    mean, every = structural_similarity(
        restored, clean, data_range=1.0, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return psnr(restored[lost], clean[lost]), float(every[lost].mean()), psnr(restored, clean), float(mean)


def as_image(planes: torch.Tensor) -> NDArray[Any]:
    """(3, H, W) to (H, W, 3)."""
    return np.ascontiguousarray(planes.permute(1, 2, 0).numpy())


def measure(corruption: str, letter: str, arguments: argparse.Namespace) -> list[QualityRow]:
    """A row of the table, trained first where it needs it: hidden pixels, whole images."""
    row = ROWS[letter]
    function = row.function or train(corruption, letter, arguments)
    observed, lost = test_set(corruption, arguments.data, arguments.test)
    if observed.clean is None:
        raise ValueError("test images are scored against their originals")
    scores, began = [], time.process_time()
    for measured, clean, where in zip(observed.measured, observed.clean, lost, strict=True):
        holes = as_image(where)
        scores.append(score(function(as_image(measured), holes), as_image(clean), holes))
    seconds = round(time.process_time() - began, 3)
    means = [round(fmean(column), 4) for column in zip(*scores, strict=True)]
    return [
        QualityRow(
            set=name, sigma=None, method=row.title, psnr=db, ssim=similarity, images=len(scores), seconds=round(seconds, 3)
        )
        for name, db, similarity in zip(set_names(corruption), means[::2], means[1::2], strict=True)
    ]


def applies(corruption: str, letter: str) -> bool:
    """Whether the row is of this corruption, and what it needs is installed."""
    masked = corruption != "convolve-noise"
    return ROWS[letter].masks in (None, masked) and (letter != "c" or uair.installed())


def kept_row(corruption: str, letter: str, arguments: argparse.Namespace) -> Path:
    """Where a finished row lies."""
    return Path(arguments.work) / "rows" / f"{corruption}-{letter}.json"


def finished(corruption: str, letter: str, arguments: argparse.Namespace) -> list[QualityRow]:
    """The row if it was measured earlier, else nothing."""
    path = kept_row(corruption, letter, arguments)
    return [QualityRow.model_validate(row) for row in json.loads(path.read_text())] if path.is_file() else []


def run(arguments: argparse.Namespace) -> None:
    """Measure what is asked for and not yet kept, at most --rows of them."""
    asked = [(corruption, letter) for corruption in arguments.corruptions for letter in arguments.letters]
    missing = [each for each in asked if applies(*each) and not finished(*each, arguments)]
    for corruption, letter in missing[: arguments.rows]:
        rows = measure(corruption, letter, arguments)
        path = kept_row(corruption, letter, arguments)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps([row.model_dump() for row in rows]), encoding="utf-8")
        print(f"{corruption} {ROWS[letter].title}: {rows[0].psnr:.2f} dB hidden, {rows[1].psnr:.2f} dB whole", flush=True)


def table(corruption: str, rows: Sequence[QualityRow]) -> Table:
    """One line for each method: hidden pixels, whole images."""
    shown = Table(title=f"{corruption}: PSNR dB / SSIM on {rows[0].images} images" if rows else corruption)
    for title in ("method", "hidden", "whole"):
        shown.add_column(title, justify="left" if title == "method" else "right")
    for method in dict.fromkeys(row.method for row in rows):
        shown.add_row(method, *(f"{row.psnr:.2f} / {row.ssim:.3f}" for row in rows if row.method == method))
    return shown


def figures(corruption: str, hidden: Mapping[str, float], findings: Findings) -> None:
    """What must hold, in dB on hidden pixels; only of rows that were measured."""
    best_b = max((value for letter, value in hidden.items() if letter[0] == "b"), default=None)
    best_fg = max((value for letter, value in hidden.items() if letter in "fg"), default=None)
    values = {**hidden, "b": best_b, "fg": best_fg}
    for over, under in (("d", "a"), ("d", "c"), ("d", "e"), ("fg", "b"), ("h", "fg")):
        above, below = values.get(over), values.get(under)
        if above is not None and below is not None:
            findings.add(f"{corruption.replace('-', '_')}_{over}_over_{under}", round(above - below, 3), "dB")


def gather(arguments: argparse.Namespace) -> Findings:
    """All kept rows, whatever was asked for now. Those of a trial are not judged."""
    findings = Findings(settings={"cpu_seconds": arguments.seconds, "widths": "-".join(map(str, arguments.widths))})
    findings.notes.append("equal budgets of CPU time; the adversary alone draws samples, which costs PSNR")
    if arguments.set:
        findings.notes.append(f"a trial: trained with {' '.join(arguments.set)} instead of the settings of the comparison")
    elif not any(finished(corruption, "c", arguments) for corruption in CORRUPTIONS):
        findings.notes.append("(c) was not measured: it needs deepinv")
    for corruption in CORRUPTIONS:
        kept = {letter: rows for letter in ROWS if (rows := finished(corruption, letter, arguments))}
        findings.rows += [row for rows in kept.values() for row in rows]
        if not arguments.set:
            figures(corruption, {letter: rows[0].psnr for letter, rows in kept.items()}, findings)
        wide_console().print(table(corruption, [row for rows in kept.values() for row in rows]))
    return findings


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0] if __doc__ else None, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seconds", type=positive, default=1200, help="of CPU time to train each row")
    parser.add_argument("--steps", type=positive, default=None, help="at most this many steps, to try it")
    parser.add_argument("--rows", type=positive, default=None, help="measure at most this many rows now")
    parser.add_argument("--corruptions", nargs="+", choices=CORRUPTIONS, default=[*CORRUPTIONS])
    parser.add_argument("--letters", nargs="+", choices=ROWS, default=[*ROWS])
    parser.add_argument("--widths", type=positive, nargs="+", default=[32, 64, 128], help="of the U-Net")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="over the configuration of all trained rows")
    parser.add_argument("--test", type=positive, default=500, help="test images")
    parser.add_argument("--threads", type=positive, default=1, help="for training")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("out/unir"), help="keeps runs and finished rows")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the results to this file")
    parser.set_defaults(save=False, no_gates=True)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    arguments = make_parser().parse_args(words)
    if not (arguments.data / "cifar10" / "cifar10_subset.npz").is_file():
        print(f"{arguments.data} holds no cifar10/cifar10_subset.npz; pass --data")
        return 2
    run(arguments)
    name = f"U-Net {'-'.join(map(str, arguments.widths))}"
    return finish("unir", arguments, gather(arguments), host_facts(arguments.threads), Model(name=name, sha256=""))


if __name__ == "__main__":
    exit_with(main)
