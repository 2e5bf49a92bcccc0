"""Every precision on every backend that works here, beside the usual PyTorch code, in one interleaved run.

On the CPU these are ONNX Runtime and OpenVINO; on an NVIDIA GPU TensorRT, ONNX Runtime with CUDA and PyTorch programs, with
images on the host, on the device, and in a stream. What does not work here is named with its reason. How far each answer lies
from float32's is measured beside its time.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.arguments import Findings, exit_with, finish, parser, positive
from benchmarks.comparison import Bench
from benchmarks.images import photograph
from benchmarks.machine import RUNTIMES, PeakProbe, host_facts
from benchmarks.models import find_onnx, model_facts, read_spec
from benchmarks.peers.eager_loop import EagerLoop
from benchmarks.rounds import Timing, Work, paired_ratio
from benchmarks.twin import torch_twin
from export.precision import half_wrapped
from export.stamp import fill_of
from export.to_torch import on_disk, serialised, trace_program
from restore_sdk.cuda.driver import driver_reason
from restore_sdk.cuda.torch_switches import fixed_arithmetic
from restore_sdk.errors import DeviceUnavailableError, OptionsError, RestoreError
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

SIDES, STREAMED, FRAMES = (512, 1024), 1024, 24  # pixels; side and number of the frames of a stream
SMALLEST, LOST = 16, 0.5  # side, pixels; share of the pixels where a model fills them in
EAGER = "PyTorch loop, fp32"  # what all others are compared with
WISHES: Mapping[str, tuple[tuple[str, str], ...]] = {  # device: (backend, precision)
    "cpu": (("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("openvino", "fp32"), ("openvino", "int8")),
    "cuda": (
        ("tensorrt", "fp32"),
        ("tensorrt", "fp16"),
        ("tensorrt", "int8"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "fp16"),
        ("torch", "fp32"),
        ("torch", "fp16"),
    ),
}
Frames = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Competitors:
    """Who runs on one device: ours by name, the PyTorch code by name."""

    device: str
    spec: ModelSpec
    ours: Mapping[str, Restorer]
    peers: Mapping[str, EagerLoop]

    def on_host(self, image: NDArray[np.uint8]) -> dict[str, Work]:
        """Each restores an image of the host."""
        peers: dict[str, Work] = {name: partial(loop.restore, image) for name, loop in self.peers.items()}
        return peers | {name: partial(restorer.restore, image) for name, restorer in self.ours.items()}

    def on_device(self, image: NDArray[np.uint8]) -> dict[str, Work]:
        """Each restores an image of the GPU, which stays there, and waits until it is done."""
        there = torch.from_numpy(image).to(self.device)
        peers: dict[str, Work] = {name: partial(_waited, loop.restore_there, there) for name, loop in self.peers.items()}
        return peers | {name: partial(_waited, restorer.restore, there) for name, restorer in self.ours.items()}


def _waited(restore: Any, image: Any) -> None:
    made = restore(image)
    torch.cuda.synchronize()
    if hasattr(made, "close"):
        made.close()


@contextmanager
def competitors(device: str, bench: Bench) -> Iterator[Competitors]:
    """All that can be opened on `device`; of the others a note says why not."""
    spec, network = read_spec(bench.path), checked_twin(bench)
    half = {"PyTorch loop, fp16": EagerLoop(network, device, half=True)} if device != "cpu" else {}
    with ExitStack() as opened:
        ours = {}
        for backend, precision in WISHES[device]:
            name = f"{backend}, {precision}"
            try:
                model = _model(backend, dataclasses.replace(spec, precision=precision), bench, network, opened)
                ours[name] = opened.enter_context(Restorer(model, backend=backend, device=device, threads=bench.threads))
                ours[name].restore(photograph(SMALLEST, SMALLEST))  # an engine that opens may still not run
            except (RestoreError, ValueError) as exc:
                ours.pop(name, None)
                bench.findings.notes.append(f"{device}: {name} was left out: {exc}")
        yield Competitors(device, spec, ours, {EAGER: EagerLoop(network, device), **half})


def _model(backend: str, spec: ModelSpec, bench: Bench, network: nn.Module, opened: ExitStack) -> str | Path:
    """The file in the precision of `spec`: a program made here, or an ONNX file, which is bundled under its own name."""
    if backend != "torch":
        return bench.path if spec.precision == "fp32" else find_onnx(_sibling(bench, spec.precision))
    lowered = half_wrapped(network) if spec.precision == "fp16" else network
    traced = trace_program(lowered, spec.channels, spec.size_multiple)
    program = serialised(traced, dataclasses.replace(spec, sha256=""))
    return opened.enter_context(on_disk(program))


def _sibling(bench: Bench, precision: str) -> str:
    """The same model in another precision: bundled, or beside the file that was given."""
    name = f"{bench.path.stem}-{precision}"
    return name if bench.model == bench.path.stem else str(bench.path.with_name(f"{name}.onnx"))


def checked_twin(bench: Bench) -> nn.Module:
    """The network in PyTorch. Raises OptionsError for a file that is not FP32, or whose weights cannot be taken over: what else
    would be compared?"""
    precision = read_spec(bench.path).precision
    if precision != "fp32":
        raise OptionsError("--model", bench.model, f"an fp32 model, and this is {precision}: other precisions are found by name")
    network, same = torch_twin(bench.path)
    if not same:
        raise OptionsError("--model", bench.model, "a model whose spec tells how to rebuild it in PyTorch; export it again")
    return network


def picture(side: int, spec: ModelSpec) -> NDArray[np.uint8]:
    """A photograph; of a model that fills in pixels, one that has lost half of them."""
    image, fill = photograph(side, side), fill_of(spec)
    if fill is not None:
        image[np.random.default_rng(side).random((side, side)) < LOST] = round(255 * fill)
    return image


def compare(runners: Competitors, bench: Bench, sides: Sequence[int]) -> None:
    """Times and answers on the host; on a GPU also on the device, and streams."""
    for side in sides:
        image = picture(side, runners.spec)
        add_errors(runners, image, bench.findings)
        timings = bench.compare(f"{runners.device}: images on the host, {side}x{side}", runners.on_host(image))
        add_speeds(f"{runners.device}_host_{side}", timings, bench.findings)
        if runners.device != "cpu":
            timings = bench.compare(f"{runners.device}: images on the device, {side}x{side}", runners.on_device(image))
            add_speeds(f"{runners.device}_device_{side}", timings, bench.findings)
    if runners.device != "cpu":
        compare_streams(runners, bench)


def compare_streams(runners: Competitors, bench: Bench) -> None:
    """FRAMES pictures one after the other and as a stream, whose copies lie beside the network's work."""
    frames = [picture(STREAMED, runners.spec)] * FRAMES
    for name, restorer in runners.ours.items():
        variants: dict[str, Work] = {
            "one after the other": partial(_exhaust, restorer.restore_many, frames),
            "stream": partial(_exhaust, restorer.stream, frames),
            "stream, 2 workers": partial(_exhaust, partial(restorer.stream, workers=2), frames),
        }
        timings = bench.compare(f"{runners.device}: {FRAMES} pictures of {STREAMED}x{STREAMED}, {name}", variants)
        single, streamed = timings["one after the other"], min(list(timings.values())[1:], key=lambda timing: timing.median)
        bench.add_ratio(f"{runners.device}_{slug(name)}_loop_over_stream", single, streamed)
        bench.findings.add(f"{runners.device}_{slug(name)}_pictures_per_second", FRAMES / streamed.median, "/s")


def _exhaust(restored: Callable[[Frames], Iterable[object]], frames: Frames) -> None:
    deque(restored(frames), maxlen=0)


def add_errors(runners: Competitors, image: NDArray[np.uint8], findings: Findings) -> None:
    """The largest difference of each answer to float32's, in steps of 8 bits. Of INT8 it is large where detail is drawn anew."""
    with fixed_arithmetic(torch):  # float32 as it is meant, without TF32
        exact = runners.peers[EAGER].restore(image).astype(np.int16)
    for name, restore in runners.on_host(image).items():
        if name != EAGER:
            apart = np.abs(np.asarray(restore(), np.int16) - exact).max()
            findings.add(f"{runners.device}_{slug(name)}_largest_difference_{len(image)}", float(apart), "/255")


def add_speeds(case: str, timings: Mapping[str, Timing], findings: Findings) -> None:
    """How many times as fast as the PyTorch loop in float32 each is: the median over rounds of the ratio within one round."""
    for name, timing in timings.items():
        if name != EAGER:
            findings.add(f"{case}_{slug(name)}_speed", paired_ratio(timings[EAGER], timing), "x")


def slug(name: str) -> str:
    """A name as part of a figure's."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


def devices(wish: str, findings: Findings) -> list[str]:
    """What to measure on; "auto": the CPU, and the GPU if PyTorch sees one. Raises DeviceUnavailableError for a GPU that is not
    there."""
    reason = None if torch.cuda.is_available() else driver_reason() or "this PyTorch has no CUDA"
    if wish == "cuda" and reason is not None:
        raise DeviceUnavailableError("cuda", ["cpu"], f"{reason}; pass --device cpu")
    if wish == "auto" and reason is not None:
        findings.notes.append(f"no GPU was measured: {reason}")
        return ["cpu"]
    return [*WISHES] if wish == "auto" else [wish]


def main(words: Sequence[str] | None = None) -> int:
    options = parser(__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--device", choices=("auto", *WISHES), default="auto", help="what to measure on")
    options.add_argument("--rounds", type=positive, default=7, help="rounds of each comparison")
    options.add_argument("--sides", type=_sides, default=list(SIDES), help="of the square images, pixels, comma-separated")
    arguments: argparse.Namespace = options.parse_args(words)
    path, findings = find_onnx(arguments.model), Findings()
    torch.set_num_threads(arguments.threads)
    with PeakProbe(arguments.threads) as probe:
        bench = Bench(arguments.model, path, arguments.threads, arguments.rounds, probe, findings)
        for device in devices(arguments.device, findings):
            with competitors(device, bench) as runners:
                compare(runners, bench, arguments.sides)
        findings.add("probe_variation", probe.variation, "%")
        host = host_facts(arguments.threads, peak=probe.peak, source=probe.source, packages=RUNTIMES)
    findings.settings |= {"rounds": arguments.rounds, "sides": [float(side) for side in arguments.sides]}
    findings.settings["device"] = arguments.device
    findings.notes.append(f"speed: how many times as fast as '{EAGER}', whose convolutions PyTorch may round to TF32 on a GPU")
    return finish("backends", arguments, findings, host, model_facts(path))


def _sides(text: str) -> list[int]:
    """Sides in pixels, each once, for argparse."""
    sides = list(dict.fromkeys(positive(word) for word in text.split(",")))
    if min(sides) < SMALLEST:
        raise argparse.ArgumentTypeError(f"{min(sides)} is below {SMALLEST} pixels")
    return sides


if __name__ == "__main__":
    exit_with(main)
