"""Videos: every picture restored, every time kept, everything else copied."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import OptionsError
from restore_sdk.image.atomic import check_target
from restore_sdk.spec import ModelSpec
from restore_sdk.stream.errors import StreamError, VideoWriteError
from restore_sdk.stream.frames import Cancellable, Reuse, stream_frames
from restore_sdk.stream.video_jobs import Order, VideoJob, open_job
from restore_sdk.stream.video_options import Cut, VideoOptions
from restore_sdk.stream.video_source import STANDARD_INPUT, VideoSource

STANDARD_OUTPUT = "-"


class Restores(Protocol):
    """What a video needs of a Restorer."""

    @property
    def spec(self) -> ModelSpec:
        """What the model promises."""
        ...

    @property
    def restore(self) -> Callable[..., NDArray[Any]]:
        """Restores one (H, W, 3) float32 image in [0, 1]; takes channel_order and clip."""
        ...

    def report(self) -> Mapping[str, object]:
        """What really runs."""
        ...


@runtime_checkable
class RestoresInSequence(Protocol):
    """What has something of its own for the pictures of one video, in their order: Restorer and FrameFits."""

    def in_sequence(self, *, workers: int) -> tuple[Restores, Any]:
        """Raises OptionsError where so many workers cannot be."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a video is."""

    done: int  # frames, those of an interrupted run included
    total: int | None  # about; None where the container does not say
    fps: float  # of this run

    @property
    def eta(self) -> float | None:
        """Seconds that are left, as far as one can tell."""
        return None if self.total is None or not self.fps else max(0, self.total - self.done) / self.fps


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What restore_video did."""

    source: Path | str
    target: Path | str
    width: int  # of the target, pixels
    height: int
    frames: int
    resumed: int  # of these, frames that an interrupted run had done
    codec: str
    format: str  # FFmpeg's name of the target's pixel format
    seconds: float
    reused: float | None  # share of the tiles that were not computed again
    notices: tuple[str, ...]  # what could not be taken over, in words


OnProgress = Callable[[Progress], None]


def restore_video(
    restorer: Restores,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: VideoOptions | None = None,
    *,
    reuse: Reuse | None = None,
    on_progress: OnProgress | None = None,
) -> VideoReport:
    """Restore a video file into another; "-" stands for y4m on standard input or output.

    Kept: the time of every picture (constant rate or not), audio, subtitles, cover, attachments, chapters and tags (copied by
    packet), colour tags, bits, chroma format where the encoder has it, size, shape of the pixels. Inside, the pixels are float
    RGB as the source's matrix says. The target appears when it is complete; interrupted work stays beside it for `resume`.

    restorer     a Restorer, what its in_sequence() gives, or a FrameFits ("dip-..." with a mask)
    reuse        the ReusedTiles that `restorer` runs on
    on_progress  called after each picture

    Raises VideoReadError, VideoWriteError, OptionsError, StreamError (a picture that could not be restored),
    DeviceUnavailableError, MissingExtraError, BrokenPipeError (standard output).
    """
    options, started = options or VideoOptions(), time.perf_counter()
    read_from, write_to = _checked_paths(source, target, options)
    if isinstance(restorer, RestoresInSequence):
        restorer, _ = restorer.in_sequence(workers=options.workers)
    with VideoSource(read_from, decoder=options.decoder) as reader:
        order = Order(reader, restorer.spec, restorer.report(), options, Cut.of(reader.facts, options))
        job = open_job(order, write_to)
        try:
            count = _restore_pictures(restorer, order, job, reuse, on_progress)
            if not job.resumed + count:
                raise order.no_frames()
            job.sink.close()
            notices = job.finish()
        except BaseException:
            job.abandon()
            raise
    return VideoReport(
        source=reader.facts.path,
        target=STANDARD_OUTPUT if write_to is None else write_to,
        width=job.encoding.width,
        height=job.encoding.height,
        frames=job.resumed + count,
        resumed=job.resumed,
        codec="y4m" if write_to is None else job.encoding.codec,
        format=job.encoding.format,
        seconds=time.perf_counter() - started,
        reused=getattr(reuse, "total_share", None),
        notices=(*reader.facts.notices, *job.encoding.notices, *notices, *_flaws(reader)),
    )


def _flaws(reader: VideoSource) -> list[str]:
    """What is wrong with the source, in words, that was restored all the same."""
    damaged = [f"{reader.damaged} damaged pictures were patched up by the decoder"] if reader.damaged else []
    missing = f"its pictures end {reader.missing:.3f} s before its container says they do; it may have been cut off"
    return [*damaged, *([missing] if reader.missing else [])]


def _restore_pictures(
    restorer: Restores, order: Order, job: VideoJob, reuse: Reuse | None, on_progress: OnProgress | None
) -> int:
    """Read, restore and write, all at once; returns the number of pictures."""
    times: deque[tuple[int, int]] = deque()

    def read() -> Iterator[NDArray[np.float32]]:
        for picture in order.reader.pictures(order.cut.start, order.cut.stop, job.after):
            times.append((picture.pts - order.cut.shift, picture.duration))
            yield picture.pixels

    def restore(pixels: NDArray[np.float32]) -> NDArray[Any]:
        return restorer.restore(pixels, channel_order="rgb", clip=True)

    def interrupt() -> None:
        order.reader.stop()
        if isinstance(restorer, Cancellable):
            restorer.cancel()

    total, count, began = order.cut.frames(order.facts), 0, time.perf_counter()
    how: Any = {"workers": order.options.workers, "queue": order.options.queue, "reuse": reuse}
    with stream_frames(restore, read(), interrupt=interrupt, **how) as restored:
        try:
            for pixels in restored:
                job.sink.add(pixels, *times.popleft())
                count += 1
                if on_progress is not None:
                    on_progress(Progress(job.resumed + count, total, count / (time.perf_counter() - began)))
        except StreamError as exc:
            if exc.stage == "read":
                raise exc.cause from exc.cause.__cause__
            raise
    return count


def _checked_paths(
    source: str | os.PathLike[str], target: str | os.PathLike[str], options: VideoOptions
) -> tuple[Path | str, Path | None]:
    read_from: Path | str = STANDARD_INPUT if source == STANDARD_INPUT else Path(source)
    write_to = None if target == STANDARD_OUTPUT else Path(target)
    if options.resume and (write_to is None or read_from == STANDARD_INPUT):
        raise OptionsError("resume", True, "files on both sides: a pipe cannot be read or written again")
    if write_to is None:
        if options.codec is not None or options.crf is not None:
            raise OptionsError("codec", options.codec or options.crf, "none with standard output, which gets y4m")
        return read_from, None
    if os.path.exists(write_to) and os.path.exists(read_from) and os.path.samefile(read_from, write_to) and not options.overwrite:
        raise VideoWriteError(write_to, "it is the source itself; name another target or pass overwrite=True")
    check_target(write_to, overwrite=options.overwrite)
    return read_from, write_to
