"""Where a restored video goes: into a file by way of parts that survive an interruption, or into a pipe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from restore_sdk import __version__
from restore_sdk.extras import require
from restore_sdk.image.atomic import check_target, mode_of, resolve_target
from restore_sdk.options import DIP_METHOD
from restore_sdk.spec import ModelSpec
from restore_sdk.stream.errors import VideoReadError, write_error
from restore_sdk.stream.video_codecs import Encoding, choose_encoding, choose_format, colour_of
from restore_sdk.stream.video_companions import Companions
from restore_sdk.stream.video_facts import VideoFacts
from restore_sdk.stream.video_options import Cut, VideoOptions
from restore_sdk.stream.video_parts import FIT_PART_FRAMES, PartFolder
from restore_sdk.stream.video_pixels import FrameWriter
from restore_sdk.stream.video_source import STANDARD_INPUT, VideoSource
from restore_sdk.stream.video_writing import Y4M_CODEC, Container, PartWriter, PipeWriter, Sink

_Y4M_FORMATS = tuple(
    f"{kind}{deep}" for deep in ("", "10le", "12le") for kind in (*(f"yuv{chroma}p" for chroma in ("420", "422", "444")), "gray")
)

# of a runtime's report: what the pixels depend on
_DECISIVE = ("backend", "device", "precision", "tile", "clip", "options", "mask")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: pictures of `reader` inside `cut`, by a model of `spec` that runs as `report` says."""

    reader: VideoSource
    spec: ModelSpec
    report: Mapping[str, object]
    options: VideoOptions
    cut: Cut

    @property
    def facts(self) -> VideoFacts:
        return self.reader.facts

    def frame_writer(self, encoding: Encoding) -> FrameWriter:
        """Makes the frames that an encoder takes."""
        return FrameWriter(self.reader.sample, encoding)

    def no_frames(self) -> VideoReadError:
        """What to say of a piece without pictures."""
        start, end = self.options.start or 0, self.options.end
        piece = f"between {start} s and {'its end' if end is None else f'{end} s'}"
        return VideoReadError(self.facts.path, f"no picture lies {piece}; move the start or the end")


class VideoJob(Protocol):
    """The target's side of one run."""

    encoding: Encoding
    resumed: int  # frames that were there already
    after: int | None  # time of the last of them in the source

    @property
    def sink(self) -> Sink:
        """Takes the restored pictures."""
        ...

    def finish(self) -> list[str]:
        """Everything is in the sink: make the target. Returns notices."""
        ...

    def abandon(self) -> None:
        """The run failed: leave nothing but what a later one can go on with."""
        ...


class FileJob:
    """A file, made under a temporary name. Raises OptionsError, VideoWriteError, VideoReadError, DeviceUnavailableError."""

    def __init__(self, order: Order, target: Path) -> None:
        self._order, self._target = order, target
        self._folder = PartFolder(resolve_target(target), FIT_PART_FRAMES if order.spec.method == DIP_METHOD else None)
        self._whole = self._folder.folder / f"whole{target.suffix}"
        with self._container() as container:
            self._notices = [*_moved(order), *container.add_companions()]
            self.encoding = choose_encoding(
                order.facts,
                codec=order.options.codec,
                crf=order.options.crf,
                scale=order.spec.scale,
                known=container.encoders,
                global_header=container.wants_global_header,
                reorders=container.reorders,
            )
        done = self._folder.begin(self._identity(), resume=order.options.resume)
        if (stop := order.cut.stop) is not None:  # an end before what is kept: the part that it cuts is made again
            done = [part for part in done if part.last_pts + order.cut.shift < stop]
        self.resumed = sum(part.frames for part in done)
        self.after: int | None = done[-1].last_pts + order.cut.shift if done else None
        self.sink = PartWriter(self._folder, self.encoding, order.frame_writer(self.encoding), done)

    def finish(self) -> list[str]:
        with self._container() as container:
            late = container.write(self.encoding, self._order.facts, self.sink.parts)
        check_target(self._target, overwrite=self._order.options.overwrite)
        final = resolve_target(self._target)
        try:
            mode = mode_of(final)
            if mode is not None:
                self._whole.chmod(mode)
            self._whole.replace(final)
        except OSError as exc:
            raise write_error(self._target, exc) from exc
        self._folder.remove()
        return [*self._notices, *late]

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._whole.unlink(missing_ok=True)
        if not self.sink.parts:
            self._folder.remove()

    @contextlib.contextmanager
    def _container(self) -> Iterator[Container]:
        """The file to be, with all that accompanies the pictures at hand."""
        facts, cut = self._order.facts, self._order.cut
        if facts.path == STANDARD_INPUT:
            yield Container(self._whole, None, self._target)
            return
        shift = Fraction(cut.shift) * facts.time_base
        with Companions(Path(facts.path), self._order.reader.stream_index, cut.begin, cut.end, shift) as companions:
            yield Container(self._whole, companions, self._target)

    def _identity(self) -> dict[str, Any]:
        """All that the packets depend on; the end is left out, as it only says how many there are."""
        encoding, order = self.encoding, self._order
        source, spec = Path(order.facts.path), order.spec
        is_file = order.facts.path != STANDARD_INPUT and source.exists()  # "%03d.png" stands for many
        known = source.stat() if is_file else None
        return {
            "source": str(source.resolve()),
            "source_bytes": known and known.st_size,
            "source_changed": known and known.st_mtime_ns,
            "model": f"{spec.name} {spec.sha256}",
            "runtime": {name: order.report.get(name) for name in _DECISIVE},
            "decoder": order.options.decoder,
            "start": order.options.start,
            "encoder": [encoding.codec, dict(encoding.options), encoding.quantiser, encoding.format],
            "size": [encoding.width, encoding.height],
            "part_frames": self._folder.part_frames,
            "versions": [__version__, require("av", "video").__version__],
        }


def _moved(order: Order) -> list[str]:
    """What to say where everything moves without having been asked for."""
    later = -float(order.cut.shift * order.facts.time_base)
    return [f"its pictures begin before zero: everything comes {later:.3f} s later"] if later > 0 else []


class PipeJob:
    """y4m on standard output."""

    def __init__(self, order: Order) -> None:
        facts, spec = order.facts, order.spec
        self.resumed = 0
        self.after: int | None = None
        odd = bool(facts.width * spec.scale % 2 or facts.height * spec.scale % 2)
        pixel_format, notices = choose_format(Y4M_CODEC, facts, odd=odd, names=_Y4M_FORMATS)
        self.encoding = Encoding(
            codec=Y4M_CODEC,
            options={},
            quantiser=None,
            format=pixel_format,
            width=facts.width * spec.scale,
            height=facts.height * spec.scale,
            rate=facts.rate,
            time_base=1 / facts.rate,
            aspect=facts.aspect,
            colour=colour_of(facts, pixel_format),
            global_header=False,
            notices=notices,
        )
        self.sink = PipeWriter(self.encoding, order.frame_writer(self.encoding), 1 / (facts.rate * facts.time_base))
        self._is_file = facts.path != STANDARD_INPUT

    def finish(self) -> list[str]:
        notices = ["y4m holds pictures alone: audio, subtitles, chapters and tags are left out"] if self._is_file else []
        if not self.sink.is_regular:
            notices.append("y4m has one rate, and the times of this video are not even: write into a file to keep them")
        return notices

    def abandon(self) -> None:
        """What went into the pipe is gone."""


def open_job(order: Order, target: Path | None) -> VideoJob:
    """The job for `target`; None: standard output."""
    return PipeJob(order) if target is None else FileJob(order, target)
