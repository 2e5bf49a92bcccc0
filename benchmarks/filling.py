"""PSNR and SSIM of a model that fills in lost pixels, beside OpenCV's inpainting, for several shares of loss.

Protocol: whole test pictures of 8 bits; exactly floor(p H W) pixels of each are black, at places seeded by the picture's index
and the same for every method; results are 8 bits. PSNR and SSIM (as in quality.py) of the hidden pixels and of the whole picture,
means over pictures. OpenCV is given the mask; the model sees only the picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.arguments import Findings, exit_with, finish, parser, positive
from benchmarks.images import DEFAULT_DATA, BytePixels, Sample, evenly, find_samples, read_pixels
from benchmarks.machine import host_facts
from benchmarks.metrics import psnr, ssim
from benchmarks.models import find_onnx, model_facts
from benchmarks.peers.inpainting import RADIUS
from benchmarks.schema import QualityRow
from benchmarks.strips import write_strip
from restore_sdk.restorer import Restorer

Fill = Callable[[BytePixels, NDArray[np.bool_]], BytePixels]  # picture, True where a pixel is lost
SEED = 2_000_003
SHARES = (0.5, 0.7, 0.9, 0.95)
DRAWN_SET, DRAWN_INDEX, DRAWN_SHARES = "kodak24", 3, (0.5, 0.9, 0.95)  # of --picture: a branch of blossoms
DRAWN = slice(100, 356)  # rows and columns


def lose(picture: BytePixels, share: float, index: int) -> tuple[BytePixels, NDArray[np.bool_]]:
    """The picture with its lost pixels black, and where they are."""
    height, width = picture.shape[:2]
    places = np.random.default_rng((SEED, index)).permutation(height * width)[: int(share * height * width)]
    lost = np.zeros(height * width, bool)
    lost[places] = True
    lost = lost.reshape(height, width)
    return np.where(lost[..., None], np.uint8(0), picture), lost


def opencv(method: int) -> Fill:
    """cv2.INPAINT_TELEA or cv2.INPAINT_NS."""
    return lambda picture, lost: np.asarray(cv2.inpaint(picture, lost.astype(np.uint8) * 255, RADIUS, method), np.uint8)


def measure(name: str, share: float, samples: Sequence[Sample], methods: Mapping[str, Fill]) -> list[QualityRow]:
    """Two rows for each method: hidden pixels, whole pictures."""
    scores: dict[str, list[tuple[float, ...]]] = {method: [] for method in methods}
    for sample in samples:
        if sample.clean is None:
            continue
        clean = read_pixels(sample.clean)
        given, lost = lose(clean, share, sample.index)
        truth = clean.astype(np.float32) / 255
        for method, fill in methods.items():
            began = time.perf_counter()
            filled = fill(given, lost)
            seconds = time.perf_counter() - began
            restored = filled.astype(np.float32) / 255
            scores[method].append((psnr(restored[lost], truth[lost]), psnr(restored, truth), ssim(restored, truth), seconds))
    return [row for method, lines in scores.items() for row in _rows(name, share, method, lines)]


def _rows(name: str, share: float, method: str, lines: Sequence[tuple[float, ...]]) -> list[QualityRow]:
    hidden, whole, similarity, seconds = (round(fmean(column), 4) for column in zip(*lines, strict=True))
    facts = {"sigma": None, "method": method, "ssim": similarity, "images": len(lines), "seconds": seconds}
    title = f"{name} remove-pixel p={share:g}"
    return [
        QualityRow(set=f"{title}, hidden pixels", psnr=hidden, **facts),  # type: ignore[arg-type]
        QualityRow(set=f"{title}, whole pictures", psnr=whole, **facts),  # type: ignore[arg-type]
    ]


def gains(rows: Sequence[QualityRow], ours: str, findings: Findings) -> None:
    """Hidden pixels: ours over the best of the others, dB."""
    for name in dict.fromkeys(row.set for row in rows if row.set.endswith("hidden pixels")):
        own = next(row.psnr for row in rows if (row.set, row.method) == (name, ours))
        best = max(row.psnr for row in rows if row.set == name and row.method not in (ours, "corrupted input"))
        label = name.split(",")[0].replace(" remove-pixel p=", "_").replace("0.", "")
        findings.add(f"{label}_over_opencv", round(own - best, 3), "dB")


def draw(path: Path, data: Path, methods: Mapping[str, Fill]) -> None:
    """The centre of one picture for some shares: lost, filled by each of the methods, and as it was."""
    sample = find_samples(DRAWN_SET, data)[DRAWN_INDEX]
    if sample.clean is None:
        raise ValueError(f"{DRAWN_SET} has no clean pictures")
    clean, rows = read_pixels(sample.clean), []
    for share in DRAWN_SHARES:
        given, lost = lose(clean, share, sample.index)
        shown = (given, *(fill(given, lost) for fill in methods.values()), clean)
        rows.append([picture[DRAWN, DRAWN] for picture in shown])
    write_strip(path, rows, "--picture")


def main(words: Sequence[str] | None = None) -> int:
    options = parser(__doc__.partition("\n")[0] if __doc__ else None)
    options.set_defaults(model="unmask")
    options.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of the data sets")
    options.add_argument("--sets", nargs="+", default=["cbsd68", "kodak24"])
    options.add_argument("--shares", nargs="+", type=float, default=list(SHARES), help="of the pixels that are lost")
    options.add_argument("--limit", type=positive, help="pictures of each set; all by default")
    options.add_argument("--picture", type=Path, metavar="FILE", help=f"also draw what is made of a picture of {DRAWN_SET}")
    arguments = options.parse_args(words)
    findings, path = Findings(settings={"shares": arguments.shares}), find_onnx(arguments.model)
    with Restorer(arguments.model, device="cpu", threads=arguments.threads) as restorer:
        ours = f"restore-sdk {restorer.spec.name}"
        methods: dict[str, Fill] = {
            "corrupted input": lambda picture, _lost: picture,
            "OpenCV inpaint, Telea": opencv(cv2.INPAINT_TELEA),
            "OpenCV inpaint, Navier-Stokes": opencv(cv2.INPAINT_NS),
            ours: lambda picture, _lost: restorer.restore(picture),
        }
        for name in arguments.sets:
            samples = evenly(find_samples(name, arguments.data), arguments.limit)
            for share in arguments.shares if samples else ():
                findings.rows += measure(name, share, samples, methods)
        if arguments.picture and find_samples(DRAWN_SET, arguments.data):
            draw(arguments.picture, arguments.data, {name: methods[name] for name in ("OpenCV inpaint, Telea", ours)})
    gains([row for row in findings.rows if isinstance(row, QualityRow)], ours, findings)
    return finish("filling", arguments, findings, host_facts(arguments.threads), model_facts(path))


if __name__ == "__main__":
    exit_with(main)
