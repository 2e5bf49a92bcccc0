"""Exact tiles against the usual PyTorch tile loop on a large photograph, and against the whole image at once.

Both sides restore the same uint8 image with the same network and threads, interleaved in this process; peak memory is taken
in a fresh process for each. Exact tiles compute more pixels than the image has, by the overlap that their halo needs: their
time over the whole image's is compared with that share, and their result must be the same to the last bit.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.arguments import Findings, exit_with, finish, parser, positive
from benchmarks.comparison import Bench
from benchmarks.images import as_float, photograph
from benchmarks.machine import PeakProbe, host_facts
from benchmarks.models import BACKENDS, FASTEST, chosen_backend, find_onnx, model_facts
from benchmarks.observed_tiles import observe_tiles
from benchmarks.peers.tile_loop import PAD, TILE, TileLoop
from benchmarks.processes import run_child
from benchmarks.rounds import Work
from benchmarks.schema import MemoryRow
from benchmarks.twin import torch_twin
from restore_sdk.options import TileChoice, TileOptions
from restore_sdk.restorer import Restorer

Size = tuple[int, int]  # height, width
LARGE, MIDDLE = (3000, 4000), (2048, 2048)
CHOICES: dict[str, TileChoice] = {"tiles_auto": "auto", "tiles_512": TileOptions(core=512)}
CHANNELS_LAST = "tile loop, channels_last"
PEERS = {"tile loop": "tile_loop", CHANNELS_LAST: "tile_loop_channels_last"}  # variant -> its part of a figure's name


def compare_with_peers(bench: Bench, restorer: Restorer, size: Size) -> None:
    """Restorer's default against the tile loop in both memory formats, in time and in memory."""
    image = photograph(*size)
    loops = {name: TileLoop(torch_twin(bench.path)[0], channels_last=name == CHANNELS_LAST) for name in PEERS}
    variants: dict[str, Work] = {"restore()": partial(restorer.restore, image)}
    variants |= {name: partial(loop.restore, image) for name, loop in loops.items()}
    timings = bench.compare(f"{size[1]}x{size[0]}, exact tiles against the PyTorch tile loop", variants)
    for name, figure in PEERS.items():
        bench.add_ratio(f"{figure}_over_restore", timings[name], timings["restore()"])
    compare_memory(bench, str(restorer.report()["backend"]), image)


def compare_memory(bench: Bench, backend: str, image: NDArray[np.uint8]) -> None:
    """Peak resident set of each side, one fresh process each."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.npy"
        np.save(file, image)
        ours = run_child("exact_tiles.py", bench.model, file, bench.threads, backend)
        peers = {name: run_child("peer_tile_loop.py", bench.path, file, bench.threads, name == CHANNELS_LAST) for name in PEERS}
    megapixels = image.shape[0] * image.shape[1] / 1e6
    for name, child in {"restore()": ours, **peers}.items():
        peak = child["peak_bytes"] / 1e6
        bench.findings.rows.append(MemoryRow(variant=name, megapixels=megapixels, peak_mb=peak, seconds=child["seconds"]))
        bench.findings.add(f"peak_{PEERS.get(name, 'restore')}", peak, "MB")
    smallest = min(child["peak_bytes"] for child in peers.values())
    bench.findings.add("restore_peak_over_tile_loop", ours["peak_bytes"] / smallest, "x")


def compare_with_whole(bench: Bench, restorer: Restorer, size: Size) -> None:
    """Tiles against the whole image, in time and in bits."""
    image = photograph(*size)
    variants: dict[str, Work] = {"whole": partial(restorer.restore, image, tile=None)}
    variants |= {name: partial(restorer.restore, image, tile=choice) for name, choice in CHOICES.items()}
    timings = bench.compare(f"{size[1]}x{size[0]}, exact tiles against the whole image", variants)
    for name, choice in CHOICES.items():
        tiles = observe_tiles(restorer.spec, *size, choice)
        ratio = bench.add_ratio(f"{name}_over_whole", timings[name], timings["whole"])
        bench.findings.add(f"count_{name}", tiles.count, "tiles")
        bench.findings.add(f"overlap_{name}", tiles.overhead, "x")
        bench.findings.add(f"{name}_over_formula", ratio / tiles.overhead, "x")
    compare_bits(bench, restorer, image)


def compare_bits(bench: Bench, restorer: Restorer, image: NDArray[np.uint8]) -> None:
    """Values of the float result that tiles change, and for contrast what the peer's tiles change."""
    pixels = as_float(image)
    whole = restorer.restore(pixels, tile=None, clip=False)
    tiled = (restorer.restore(pixels, tile=choice, clip=False) for choice in CHOICES.values())
    bench.findings.add("values_differing_from_whole", sum(int(np.count_nonzero(result != whole)) for result in tiled), "")
    network, same_weights = torch_twin(bench.path)
    if same_weights:
        difference = TileLoop(network).restore(image).astype(np.int16) - restorer.restore(image, tile=None)
        bench.findings.add("tile_loop_largest_error", float(np.abs(difference).max()), "of 255")
    else:
        bench.findings.notes.append("the PyTorch side has random weights: its time counts, its picture does not")


def image_size(text: str) -> Size:
    """HEIGHTxWIDTH, for argparse."""
    height, _, width = text.partition("x")
    return positive(height), positive(width)


def main(words: Sequence[str] | None = None) -> int:
    options = parser(__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--backend", choices=BACKENDS, default=FASTEST, help="CPU runtime under test")
    options.add_argument("--rounds", type=positive, default=3, help="rounds of each comparison")
    options.add_argument("--size", type=image_size, default=LARGE, metavar="HxW", help="photograph for the tile loops")
    options.add_argument("--whole-size", type=image_size, default=MIDDLE, metavar="HxW", help="photograph also restored whole")
    arguments = options.parse_args(words)
    torch.set_num_threads(arguments.threads)
    path = find_onnx(arguments.model)
    backend = chosen_backend(arguments.backend, path, arguments.threads)
    findings = Findings(settings={"backend": backend})
    with (
        PeakProbe(arguments.threads) as probe,
        Restorer(arguments.model, backend=backend, device="cpu", threads=arguments.threads) as restorer,
    ):
        bench = Bench(arguments.model, path, arguments.threads, arguments.rounds, probe, findings)
        compare_with_peers(bench, restorer, arguments.size)
        compare_with_whole(bench, restorer, arguments.whole_size)
        findings.add("probe_variation", probe.variation, "%")
        host = host_facts(arguments.threads, peak=probe.peak, source=probe.source)
    findings.settings |= {"rounds": arguments.rounds, "peer_tile": TILE, "peer_pad": PAD}
    findings.settings |= {name: f"{height}x{width}" for name, (height, width) in sizes_of(arguments).items()}
    findings.notes.append(f"the tile loop gives its tiles {PAD} pixels of context: it computes fewer pixels and leaves seams")
    return finish("tiling", arguments, findings, host, model_facts(path))


def sizes_of(arguments: argparse.Namespace) -> dict[str, Size]:
    """The photographs' sizes, for the record."""
    return {"size": arguments.size, "whole_size": arguments.whole_size}


if __name__ == "__main__":
    exit_with(main)
