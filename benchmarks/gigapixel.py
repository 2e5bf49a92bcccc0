"""A huge TIFF in bounded memory: restored at once, and killed half-way and resumed, in fresh processes.

    python -m benchmarks.gigapixel --save                        20 000 x 20 000 RGB, made of the photographs of shared/data
    python -m benchmarks.gigapixel --size 2000x3000 --no-gates   a quick look

Peak memory is counted above what the process had once the model was open and had restored a small image.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.arguments import Findings, exit_with, finish, parser
from benchmarks.images import photograph
from benchmarks.machine import host_facts
from benchmarks.models import find_onnx, model_facts
from benchmarks.resident import peak_resident_bytes
from benchmarks.schema import MemoryRow
from benchmarks.tiling import image_size
from restore_sdk.image.big_tiff_reading import TiffSource
from restore_sdk.restorer import Restorer

TILE = 512  # side of the source's tiles, pixels
REGION = 600  # side of the regions that are compared with whole-image inference, pixels
CONTEXT = 128  # pixels around a region that stand for the whole image: more than the network sees
TURN = 3  # photographs beside each other before the next is turned


def make_image(path: Path, height: int, width: int) -> None:
    """A BigTIFF of deflated tiles, cut out of one mosaic of photographs that is shifted and mirrored from tile to tile."""
    mosaic = photograph(4 * TILE, 4 * TILE)

    def tiles() -> Iterator[NDArray[np.uint8]]:
        for row, column in itertools.product(range(-(-height // TILE)), range(-(-width // TILE))):
            top, left = 97 * (row + 3 * column) % (3 * TILE), 211 * (column + 5 * row) % (3 * TILE)
            tile = mosaic[top : top + TILE, left : left + TILE]
            yield np.ascontiguousarray(tile[:, ::-1] if (row + column) % TURN == 0 else tile)

    shape = (height, width, 3)
    tifffile.imwrite(
        path, tiles(), shape=shape, dtype=np.uint8, tile=(TILE, TILE), bigtiff=True, photometric="rgb", compression="deflate",
        predictor=True, resolution=(300, 300), resolutionunit="INCH", metadata=None,
    )  # fmt: skip


def resident_bytes() -> int:
    """Resident set of this process now, bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def restore_here(model: str, threads: int, source: str, target: str, kill_at: float) -> None:
    """What a child does: restore, and die by SIGKILL when the share `kill_at` of the cells is done (0: never)."""

    def on_tile(done: int, total: int) -> None:
        if kill_at and done >= kill_at * total:
            os.kill(os.getpid(), signal.SIGKILL)

    with Restorer(model, device="cpu", threads=threads) as restorer:
        restorer.restore(np.zeros((64, 64, 3), np.uint8))
        __import__("imagecodecs")  # loaded by the first tile in any case: part of the interpreter, not of the work
        baseline = resident_bytes()
        begin = time.perf_counter()
        report = restorer.restore_file(source, target, on_tile=on_tile)
        seconds = time.perf_counter() - begin
    facts = {"seconds": seconds, "baseline": baseline, "peak": peak_resident_bytes(), "notices": report.notices}
    print(json.dumps({**facts, "cells": report.tiles}))


def run_child(arguments: Sequence[object]) -> dict[str, Any] | None:
    """What the child printed; None where it was killed."""
    command = [sys.executable, "-m", "benchmarks.gigapixel", "--child", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGKILL:
        return None
    if done.returncode != 0:
        raise RuntimeError("the child failed:\n" + "\n".join(done.stderr.splitlines()[-5:]))
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def sha256(path: Path) -> str:
    """Of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differing_values(restorer: Restorer, source: Path, target: Path) -> int:
    """Values that differ from whole-image inference, in the corners and in the middle of the image."""
    given, made = TiffSource(source), TiffSource(target)
    height, width = given.facts.height, given.facts.width
    side, differing = min(REGION, height, width), 0
    for top, left in itertools.product((0, (height - side) // 2, height - side), (0, (width - side) // 2, width - side)):
        rows, columns = (slice(start, start + side) for start in (top, left))
        outer = [
            slice(max(0, at - CONTEXT) // 8 * 8, min(length, at + side + CONTEXT))
            for at, length in ((top, height), (left, width))
        ]
        restored = restorer.restore(given.read(outer[0], outer[1]), tile=None)
        inner = restored[top - outer[0].start :, left - outer[1].start :][:side, :side]
        differing += int(np.count_nonzero(inner != made.read(rows, columns)))
    given.close()
    made.close()
    return differing


def measure(findings: Findings, model: str, threads: int, size: tuple[int, int], folder: Path) -> None:
    """All figures."""
    source, whole, resumed = (folder / name for name in ("source.tif", "whole.tif", "resumed.tif"))
    make_image(source, *size)
    megapixels = size[0] * size[1] / 1e6
    at_once = run_child((model, threads, source, whole, 0))
    killed = run_child((model, threads, source, resumed, 0.5))
    after = run_child((model, threads, source, resumed, 0))
    if at_once is None or after is None:
        raise RuntimeError("a child was killed by the system; give it more memory")
    for name, child in (("uninterrupted", at_once), ("resumed", after)):
        extra = (child["peak"] - child["baseline"]) / 1e6
        row = MemoryRow(variant=name, megapixels=megapixels, peak_mb=child["peak"] / 1e6, seconds=child["seconds"])
        findings.rows.append(row)
        findings.add(f"extra_peak_{name}", extra, "MB")
    findings.add("megapixels_per_second", megapixels / at_once["seconds"], "MP/s")
    findings.add("cells", at_once["cells"], "")
    findings.add("killed_half_way", float(killed is None), "")
    findings.add("resumed_file_differs", float(sha256(whole) != sha256(resumed)), "")
    with Restorer(model, device="cpu", threads=threads) as restorer:
        findings.add("values_differing_from_whole", differing_values(restorer, source, whole), "")
    findings.notes += after["notices"]


def main(words: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["--child"]:
        model, threads, source, target, kill_at = words[1:]
        restore_here(model, int(threads), source, target, float(kill_at))
        return 0
    options = parser(__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--size", type=image_size, default=(20_000, 20_000), metavar="HxW", help="of the image, pixels")
    options.add_argument(
        "--folder", type=Path, help="where the image and its results lie meanwhile; default: the temporary folder"
    )
    arguments = options.parse_args(words)
    findings = Findings(settings={"size": f"{arguments.size[0]}x{arguments.size[1]}", "tile": TILE, "region": REGION})
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(findings, arguments.model, arguments.threads, arguments.size, Path(folder))
    return finish("gigapixel", arguments, findings, host_facts(arguments.threads), model_facts(find_onnx(arguments.model)))


if __name__ == "__main__":
    exit_with(main)
