"""Peak memory of exact tiles against its formula: 90 MB + 6 bytes per image pixel + k bytes per tile pixel, and 10 % more.

6 bytes are the uint8 image and its uint8 result; k is bytes_per_pixel of the model's spec and counts for the
largest tile. The image is never converted to float as a whole. Each size runs in a fresh process. MB = 10^6 bytes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks.arguments import Findings, exit_with, finish, parser, wide_console
from benchmarks.images import photograph
from benchmarks.machine import host_facts
from benchmarks.models import BACKENDS, FASTEST, chosen_backend, find_onnx, model_facts, read_spec
from benchmarks.observed_tiles import observe_tiles
from benchmarks.processes import run_child
from benchmarks.schema import MemoryRow

BASE_BYTES, IMAGE_BYTES, MARGIN = 90e6, 6, 1.10
SMALL = 64  # side of the image that shows what the process takes without any tile to speak of


def bound_bytes(image_pixels: int, tile_pixels: int, bytes_per_pixel: float) -> float:
    """The limit of the formula, margin included."""
    return MARGIN * (BASE_BYTES + IMAGE_BYTES * image_pixels + bytes_per_pixel * tile_pixels)


def measure(height: int, width: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Peak bytes and seconds of one restore in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.npy"
        np.save(file, photograph(height, width))
        child = run_child("exact_tiles.py", arguments.model, file, arguments.threads, arguments.backend)
    return child["peak_bytes"], child["seconds"]


def check_size(megapixels: int, arguments: argparse.Namespace, base: float, findings: Findings) -> MemoryRow:
    """Restore a 4:3 image of so many megapixels and compare the peak with the formula."""
    height, width = round((megapixels * 1e6 * 3 / 4) ** 0.5), round((megapixels * 1e6 * 4 / 3) ** 0.5)
    spec = read_spec(find_onnx(arguments.model))
    tiles = observe_tiles(spec, height, width, "exact")
    peak, seconds = measure(height, width, arguments)
    used = peak - base - IMAGE_BYTES * height * width
    findings.add(f"bytes_per_tile_pixel_used_{megapixels}mp", used / tiles.largest, "B")
    findings.add(f"largest_tile_{megapixels}mp", tiles.largest / 1e6, "MP")
    bound = None
    if spec.bytes_per_pixel is not None:
        bound = bound_bytes(height * width, tiles.largest, spec.bytes_per_pixel)
        findings.add(f"peak_over_bound_{megapixels}mp", peak / bound, "x")
    return MemoryRow(
        variant=f"exact tiles, {tiles.count} of them",
        megapixels=height * width / 1e6,
        peak_mb=peak / 1e6,
        bound_mb=None if bound is None else bound / 1e6,
        seconds=seconds,
    )


def memory_table(rows: Sequence[MemoryRow]) -> Table:
    """Peak and bound of each size."""
    table = Table(title="peak resident set of a fresh process, MB")
    for name in ("what", "megapixels", "peak", "bound", "seconds"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for row in rows:
        bound = "" if row.bound_mb is None else f"{row.bound_mb:.0f}"
        table.add_row(row.variant, f"{row.megapixels:.2f}", f"{row.peak_mb:.0f}", bound, f"{row.seconds:.1f}")
    return table


def sizes(text: str) -> list[int]:
    """Comma-separated whole megapixels, for argparse."""
    values = [int(word) for word in text.split(",")]
    if min(values) < 1:
        raise argparse.ArgumentTypeError("each size must be at least 1 megapixel")
    return values


def main(words: Sequence[str] | None = None) -> int:
    options = parser(__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--backend", choices=BACKENDS, default=FASTEST, help="CPU runtime under test")
    options.add_argument("--megapixels", type=sizes, default=[12, 48], help="comma-separated")
    arguments = options.parse_args(words)
    path = find_onnx(arguments.model)
    arguments.backend = chosen_backend(arguments.backend, path, arguments.threads)
    findings = Findings(settings={"backend": arguments.backend})
    base, seconds = measure(SMALL, SMALL, arguments)
    findings.add("peak_base", base / 1e6, "MB")
    rows = [MemoryRow(variant="one image of 64x64", megapixels=SMALL**2 / 1e6, peak_mb=base / 1e6, seconds=seconds)]
    rows += [check_size(megapixels, arguments, base, findings) for megapixels in arguments.megapixels]
    wide_console().print(memory_table(rows))
    findings.rows += rows
    if read_spec(path).bytes_per_pixel is None:
        findings.notes.append("the model's spec states no bytes_per_pixel, so there is no bound to check; export it again")
    findings.settings["megapixels"] = [float(value) for value in arguments.megapixels]
    return finish("memory", arguments, findings, host_facts(arguments.threads), model_facts(path))


if __name__ == "__main__":
    exit_with(main)
