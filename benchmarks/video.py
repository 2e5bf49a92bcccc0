"""A video through the pipeline against its stages alone and against a plain OpenCV loop with the same model; memory over time.

Stages alone: decoding to pixels, restoring these pixels, encoding the results; each over the same pictures with the same
settings. The pipeline's share is the time of the slowest stage alone over the time of the whole command: 100 % means that
everything else is hidden behind it. Variants run interleaved. The OpenCV loop reads, restores and writes one picture after
another, in 8 bits and with the codec that OpenCV's wheel can write (MPEG-4 part 2), and it loses what accompanies the pictures.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.arguments import Findings, exit_with, finish, parser, positive
from benchmarks.comparison import Bench
from benchmarks.images import DEFAULT_DATA, photograph
from benchmarks.machine import PeakProbe, host_facts
from benchmarks.models import find_onnx, model_facts
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.extras import require
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec
from restore_sdk.stream.video import Progress, restore_video
from restore_sdk.stream.video_jobs import FileJob, Order
from restore_sdk.stream.video_options import Cut, VideoOptions
from restore_sdk.stream.video_source import VideoSource

CLIP = DEFAULT_DATA / "video" / "bikes.mp4"
WARM_PICTURES = 200  # of the memory run, before its baseline is taken
SIZE = (240, 320)  # of its pictures
Pixels = NDArray[np.float32]


class Stages:
    """The three stages of one clip, each to be run alone; `options` cut the clip to the pictures that are measured."""

    def __init__(self, clip: Path, restorer: Restorer, options: VideoOptions, pictures: int, folder: Path) -> None:
        self._clip, self._restorer, self._options, self._folder = clip, restorer, options, folder
        self._pictures = pictures
        with VideoSource(clip) as source:
            self._given = list(islice(source.pictures(), pictures))
        self._restored = [restorer.restore(picture.pixels) for picture in self._given]

    def decode(self) -> int:
        """Every picture to pixels; returns their number."""
        with VideoSource(self._clip) as source:
            return sum(1 for _ in islice(source.pictures(), self._pictures))

    def restore(self) -> None:
        """Every picture through the model."""
        for picture in self._given:
            self._restorer.restore(picture.pixels)

    def encode(self) -> None:
        """Every result into parts and the file."""
        with VideoSource(self._clip) as source:
            cut = Cut.of(source.facts, self._options)
            order = Order(source, self._restorer.spec, self._restorer.report(), self._options, cut)
            job = FileJob(order, self._folder / "encoded.mp4")
            for picture, pixels in zip(self._given, self._restored, strict=True):
                job.sink.add(pixels, picture.pts, picture.duration)
            job.sink.close()
            job.finish()

    def whole(self) -> None:
        """The pipeline."""
        restore_video(self._restorer, self._clip, self._folder / "whole.mp4", self._options)

    def opencv(self) -> None:
        """Read, restore, write, in turns."""
        capture = cv2.VideoCapture(str(self._clip))
        size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        code = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(self._folder / "opencv.mp4"), code, capture.get(cv2.CAP_PROP_FPS), size)
        for _ in range(self._pictures):
            found, image = capture.read()
            if not found:
                raise ValueError(f"{self._clip.name} has fewer than {self._pictures} pictures; pass a smaller --pictures")
            writer.write(self._restorer.restore(image, channel_order="bgr"))
        writer.release()
        capture.release()


def compare(bench: Bench, restorer: Restorer, clip: Path, pictures: int) -> None:
    """The pipeline against the slowest stage alone and against the loop."""
    with VideoSource(clip) as source:
        end = float(pictures / source.facts.rate)
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages(clip, restorer, VideoOptions(end=end, overwrite=True), pictures, Path(folder))
        if stages.decode() != pictures:
            raise ValueError(f"{clip.name} has fewer than {pictures} pictures; pass a smaller --pictures")
        variants: dict[str, Callable[[], object]] = {
            "decode alone": stages.decode,
            "restore alone": stages.restore,
            "encode alone": stages.encode,
            "restore_video": stages.whole,
            "OpenCV loop": stages.opencv,
        }
        timings = bench.compare(f"{pictures} pictures of {clip.name}", variants)
    alone = max((timings[name] for name in list(variants)[:3]), key=lambda timing: timing.median)
    whole = timings["restore_video"]
    bench.findings.add("pipeline_fps", pictures / whole.median, "1/s")
    bench.findings.add("pipeline_share", 100 * alone.median / whole.median, "%")
    bench.findings.add("pipeline_share_best", 100 * alone.best / whole.best, "%")
    bench.findings.add("pipeline_share_cpu", 100 * statistics.median(alone.cpu) / statistics.median(whole.cpu), "%")
    bench.add_ratio("opencv_loop_over_pipeline", timings["OpenCV loop"], whole)


def make_long_clip(path: Path, pictures: int) -> None:
    """A photograph that moves, `pictures` times."""
    av = require("av", "video")
    height, width = SIZE
    wide = photograph(height, 2 * width)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(pictures):
            left = number % width
            image = np.ascontiguousarray(wide[:, left : left + width])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))


def measure_memory(findings: Findings, pictures: int) -> None:
    """Resident memory while `pictures` pictures go through the pipeline with a model that copies."""
    process, seen = psutil.Process(), []

    def watch(progress: Progress) -> None:
        if progress.done % 20 == 0:
            seen.append((progress.done, process.memory_info().rss / 1e6))

    copy: Callable[[Pixels], Pixels] = np.copy
    spec = ModelSpec(name="copy", method="none", task="denoise", receptive_radius=0)
    with tempfile.TemporaryDirectory() as folder, Restorer(FunctionBackend(spec, copy)) as restorer:
        source = Path(folder) / "long.mp4"
        make_long_clip(source, pictures)
        restore_video(restorer, source, Path(folder) / "out.mp4", on_progress=watch)
    warm = [size for done, size in seen if done <= WARM_PICTURES]
    late = [size for done, size in seen if done > WARM_PICTURES]
    findings.add("memory_warm", max(warm), "MB")
    if late:
        findings.add("memory_growth", max(late) - max(warm), "MB")
        findings.add("memory_pictures", pictures, "")


def main(words: Sequence[str] | None = None) -> int:
    options = parser(__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--clip", type=Path, default=CLIP, help="a video file of constant rate")
    options.add_argument("--pictures", type=positive, default=50, help="pictures of it that are timed")
    options.add_argument("--rounds", type=positive, default=5, help="rounds of the comparison")
    options.add_argument("--memory-pictures", type=positive, default=2000, help="pictures of the memory run")
    arguments: argparse.Namespace = options.parse_args(words)
    path, findings = find_onnx(arguments.model), Findings()
    with PeakProbe(arguments.threads) as probe, Restorer(arguments.model, device="cpu", threads=arguments.threads) as restorer:
        bench = Bench(arguments.model, path, arguments.threads, arguments.rounds, probe, findings)
        compare(bench, restorer, arguments.clip, arguments.pictures)
        findings.add("probe_variation", probe.variation, "%")
        host = host_facts(arguments.threads, peak=probe.peak, source=probe.source)
    measure_memory(findings, arguments.memory_pictures)
    findings.settings |= {"clip": arguments.clip.name, "pictures": arguments.pictures, "rounds": arguments.rounds}
    findings.notes.append("encoders and decoders have threads of their own, so stages compete for the cores of a small machine")
    findings.notes.append("the OpenCV loop loses audio, subtitles, tags, variable rates and 10 bits, and writes MPEG-4 part 2")
    return finish("video", arguments, findings, host, model_facts(path))


if __name__ == "__main__":
    exit_with(main)
