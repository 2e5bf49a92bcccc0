"""What the SDK adds to the bare runtime, how fast the shipped network is, and how close it comes to the machine's peak.

All variants of one comparison run interleaved in this process with the same number of threads; a ratio is the median over
rounds of the two times of one round. The FMA probe runs between rounds and says whether the machine was quiet.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.arguments import Findings, exit_with, finish, parser, positive
from benchmarks.comparison import Bench
from benchmarks.flops import count_flops
from benchmarks.images import photograph
from benchmarks.machine import PeakProbe, host_facts, sgemm_gflops
from benchmarks.models import bare_session, find_onnx, model_facts, prepared
from benchmarks.processes import run_child
from benchmarks.rounds import Timing, Work, paired_difference
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

SMALL, MEDIUM, MEGAPIXEL = 64, 512, 1024  # sides, pixels
SMALL_ROUNDS, IDENTITY_ROUNDS, SMALL_WARM_UP = 1000, 2000, 10
STARTS = 5


def runner(session: onnxruntime.InferenceSession, tensor: NDArray[np.float32]) -> Work:
    """A call of the bare session on a prepared tensor."""
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: tensor})


def compare_restore(bench: Bench, restorer: Restorer) -> None:
    """restore() on uint8 against the bare session on the prepared float tensor, at 1 MP and at 64x64."""
    large = _compare_restore_at(bench, restorer, MEGAPIXEL, None, 1)
    bench.add_ratio("restore_over_bare_1mp", large["restore()"], large["bare session"])
    small = _compare_restore_at(bench, restorer, SMALL, SMALL_ROUNDS, SMALL_WARM_UP)
    ours, bare = small["restore()"], small["bare session"]
    bench.findings.add("restore_added_64", 1e6 * paired_difference(ours, bare), "us")
    bench.findings.add("restore_added_64_best", 1e6 * (ours.best - bare.best), "us")


def _compare_restore_at(bench: Bench, restorer: Restorer, side: int, rounds: int | None, warm_up: int) -> dict[str, Timing]:
    session, image = bare_session(bench.path, bench.threads), photograph(side, side)
    variants: dict[str, Work] = {"bare session": runner(session, prepared(image)), "restore()": lambda: restorer.restore(image)}
    if count_tiles(restorer, image) > 1:
        variants["restore(tile=None)"] = lambda: restorer.restore(image, tile=None)
        bench.findings.notes.append(f"restore() cuts {side}x{side} into tiles; restore(tile=None) does not")
    return bench.compare(f"restore() over the bare session, {side}x{side}", variants, rounds, warm_up)


def compare_identity(bench: Bench) -> None:
    """The same at 64x64 over a network that only copies: the SDK's own microseconds, without the network's noise."""
    copy: Callable[[NDArray[np.float32]], NDArray[np.float32]] = np.copy
    image = photograph(SMALL, SMALL)
    tensor = prepared(image)
    with Restorer(FunctionBackend(ModelSpec(name="copy", method="none", task="denoise"), copy)) as restorer:
        variants: dict[str, Work] = {"copy": lambda: copy(tensor), "restore()": lambda: restorer.restore(image)}
        timings = bench.compare("restore() over a network that copies, 64x64", variants, IDENTITY_ROUNDS, SMALL_WARM_UP)
    bench.findings.add("restore_added_identity_64", 1e6 * paired_difference(timings["restore()"], timings["copy"]), "us")


def compare_dncnn(bench: Bench) -> Timing:
    """The network against DnCNN-20 on ONNX Runtime, 512x512 and 1 MP; returns its own times at 512x512."""
    from benchmarks.peers.dncnn import export_dncnn  # noqa: PLC0415 (loads torch)

    with tempfile.TemporaryDirectory() as folder:
        peer = bare_session(export_dncnn(Path(folder) / "dncnn20.onnx"), bench.threads)
    session = bare_session(bench.path, bench.threads)
    times = {}
    for side, label in ((MEDIUM, "512"), (MEGAPIXEL, "1mp")):
        tensor = prepared(photograph(side, side))
        variants = {"network": runner(session, tensor), "DnCNN-20": runner(peer, tensor)}
        times[side] = bench.compare(f"network against DnCNN-20, {side}x{side}", variants)
        bench.add_ratio(f"dncnn_over_model_{label}", times[side]["DnCNN-20"], times[side]["network"])
        seconds_per_megapixel = times[side]["network"].median / (side * side / 1e6)
        bench.findings.add(f"seconds_per_megapixel_{label}", seconds_per_megapixel, "s")
    return times[MEDIUM]["network"]


def peak_shares(bench: Bench, network: Timing) -> float:
    """Share of the FMA peak and of sgemm that the best round at 512x512 reached; returns sgemm in GFLOP/s."""
    reached = 1e-9 * count_flops(bench.path, MEDIUM, MEDIUM) / network.best
    sgemm = max(sgemm_gflops(bench.threads) for _ in range(2))
    bench.findings.add("network_gflops_512", reached, "GFLOP/s")
    bench.findings.add("fma_share_512", 100 * reached / bench.probe.peak, "%")
    bench.findings.add(
        "fma_share_512_cpu", 100 * reached * network.best / (min(network.cpu) * bench.probe.peak / bench.threads), "%"
    )
    bench.findings.add("sgemm_share_512", 100 * reached / sgemm, "%")
    return sgemm


def compare_spinning(bench: Bench, restorer: Restorer) -> None:
    """Idle threads that spin against threads that sleep, and which of them the SDK chose."""
    tensor = prepared(photograph(MEDIUM, MEDIUM))
    variants = {name: runner(bare_session(bench.path, bench.threads, spinning=name == "on"), tensor) for name in ("off", "on")}
    timings = bench.compare("spinning of idle threads, 512x512", variants)
    bench.add_ratio("spinning_over_sleeping", timings["on"], timings["off"])
    spinning = find_setting(restorer.report(), "spinning")
    if isinstance(spinning, bool):
        bench.findings.add("spinning_by_default", float(spinning), "")


def measure_start(bench: Bench) -> None:
    """Import, load and first restore in fresh processes."""
    starts = [run_child("start_up.py", bench.model, bench.threads) for _ in range(STARTS)]
    for name in ("import_s", "load_s", "first_s"):
        bench.findings.add(f"start_up_{name.removesuffix('_s')}", statistics.median(start[name] for start in starts), "s")
    bench.findings.add("start_up_cpu", statistics.median(start["ready_cpu_s"] for start in starts), "s")
    bench.findings.add("torch_loaded_after_restore", float(any(start["torch"] for start in starts)), "")


def find_setting(report: object, name: str) -> object:
    """The value of the first key `name` at any depth of a report, or None."""
    if not isinstance(report, dict):
        return None
    nested = (find_setting(value, name) for value in report.values())
    return report[name] if name in report else next((value for value in nested if value is not None), None)


def count_tiles(restorer: Restorer, image: NDArray[np.uint8]) -> int:
    """Tiles that a default restore() of `image` takes."""
    totals = [1]
    restorer.restore(image, on_tile=lambda done, total: totals.append(total))
    return max(totals)


def main(words: Sequence[str] | None = None) -> int:
    options = parser(__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--rounds", type=positive, default=7, help="rounds of each long comparison")
    arguments: argparse.Namespace = options.parse_args(words)
    path = find_onnx(arguments.model)
    findings = Findings()
    with PeakProbe(arguments.threads) as probe, Restorer(arguments.model, device="cpu", threads=arguments.threads) as restorer:
        bench = Bench(arguments.model, path, arguments.threads, arguments.rounds, probe, findings)
        compare_restore(bench, restorer)
        compare_identity(bench)
        sgemm = peak_shares(bench, compare_dncnn(bench))
        compare_spinning(bench, restorer)
        measure_start(bench)
        findings.add("probe_variation", probe.variation, "%")
        host = host_facts(arguments.threads, peak=probe.peak, source=probe.source, sgemm=sgemm)
    findings.settings |= {
        "rounds": arguments.rounds,
        "small_rounds": SMALL_ROUNDS,
        "identity_rounds": IDENTITY_ROUNDS,
        "starts": STARTS,
    }
    findings.notes.append("times are wall-clock; a ratio is the median over rounds of two times of the same round")
    return finish("latency", arguments, findings, host, model_facts(path))


if __name__ == "__main__":
    exit_with(main)
