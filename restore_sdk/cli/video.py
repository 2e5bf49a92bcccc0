"""`restore video`: its flags, its progress, and what it reports."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from restore_sdk.cli import dip_flags
from restore_sdk.cli.console import complain, error_record, errors_reported, note, say, say_json, stderr_console
from restore_sdk.cli.exit_codes import UsageError, exit_code
from restore_sdk.cli.flags import Debug, Json
from restore_sdk.cli.image import BackendName, Device, Model, Threads, Tile, tile_choice
from restore_sdk.cli.sources import OVERWRITE, refuse_empty
from restore_sdk.options import MOST_WORKERS

if TYPE_CHECKING:
    from restore_sdk.stream.errors import StreamError
    from restore_sdk.stream.reuse import ReusedTiles
    from restore_sdk.stream.video import Progress, Restores, VideoReport

PIPE = "-"
SECONDS_BETWEEN_NOTES = 10.0  # where stderr is no terminal

Input: TypeAlias = Annotated[str, typer.Argument(metavar="IN", help="A video file; - reads y4m from standard input.")]
Out: TypeAlias = Annotated[
    str, typer.Option("--out", "-o", metavar="OUT", help="The target; its suffix names the container. - writes y4m to stdout.")
]
Codec: TypeAlias = Annotated[
    str | None,
    typer.Option("--codec", help="An encoder by FFmpeg's name, such as libx265 or h264_nvenc; one for the source if left out."),
]
Crf: TypeAlias = Annotated[int | None, typer.Option("--crf", help="Constant quality on the encoder's scale; lower is better.")]
Decoder: TypeAlias = Annotated[
    str | None, typer.Option("--decoder", help="A decoder by FFmpeg's name, such as h264_cuvid, or a device, such as cuda.")
]
Start: TypeAlias = Annotated[float | None, typer.Option("--start", metavar="S", help="Begin at S seconds.")]
End: TypeAlias = Annotated[float | None, typer.Option("--end", metavar="S", help="Stop at S seconds of the source.")]
Resume: TypeAlias = Annotated[bool, typer.Option("--resume", help="Go on with what an interrupted run of the same settings did.")]
Reuse: TypeAlias = Annotated[
    bool, typer.Option("--reuse", help="Do not compute tiles again that are the same as in the picture before; see --tile N.")
]
Workers: TypeAlias = Annotated[int, typer.Option("--workers", min=1, max=MOST_WORKERS, help="Pictures in work at once.")]
Overwrite: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]


@dip_flags.takes_dip_flags(without="trace")
def video(
    source: Input,
    *,
    out: Out,
    model: Model = "denoise",
    backend: BackendName = "auto",
    device: Device = "auto",
    tile: Tile = "auto",
    codec: Codec = None,
    crf: Crf = None,
    decoder: Decoder = None,
    start: Start = None,
    end: End = None,
    resume: Resume = False,
    reuse: Reuse = False,
    workers: Workers = 1,
    overwrite: Overwrite = False,
    threads: Threads = None,
    flags: dip_flags.DipFlags,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Restore a video; times, audio, subtitles, chapters and colour tags are kept."""
    with errors_reported("video", as_json=as_json, debug=debug, report=None):
        from restore_sdk.stream.errors import ContainerError, StreamError  # noqa: PLC0415 loads numpy and OpenCV
        from restore_sdk.stream.video import restore_video  # noqa: PLC0415
        from restore_sdk.stream.video_options import VideoOptions  # noqa: PLC0415

        refuse_empty(source, out, remedy="name a file, or - for the standard stream")
        if out == PIPE and as_json:
            raise UsageError("--json and -o - both write to stdout; write into a file, or leave --json out")
        if out != PIPE:
            flags.check_target(out)
        if out != PIPE and not overwrite:
            refuse_existing(out)
        options = VideoOptions(
            codec=codec,
            crf=crf,
            decoder=decoder,
            start=start,
            end=end,
            resume=resume,
            overwrite=overwrite,
            workers=workers,
        )
        place = {"backend": backend, "device": device, "tile": tile_choice(tile), "threads": threads}
        progress = PictureProgress(_shown(source), silent=as_json, resumes=resume)
        try:
            with opened(model, place, flags, reuse=reuse) as (runs, tiles), progress:
                report = restore_video(runs, source, out, options, reuse=tiles, on_progress=progress.update)
                runtime = runs.report()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(*() if PIPE in (source, out) else (_what_is_kept(out, progress.total, model),)) from None
        except ContainerError as exc:
            raise UsageError(str(exc)) from exc
        except StreamError as exc:
            raise typer.Exit(_report_failure(exc, as_json=as_json, debug=debug)) from None
        _say_report(report, runtime, as_json=as_json)


@contextmanager
def opened(
    model: str, place: Mapping[str, Any], flags: dip_flags.DipFlags, *, reuse: bool
) -> Iterator[tuple[Restores, ReusedTiles | None]]:
    """What restores the pictures, and what counts the tiles taken over. Raises UsageError, and what opening the model raises."""
    if dip_flags.means_fit(model):
        from restore_sdk.cli.dip_video import frame_fits  # noqa: PLC0415 what only fits need

        if reuse:
            raise UsageError("--reuse: not with -m dip-..., whose tiles are fits of their own; leave it out")
        with frame_fits(model, place, flags) as fits:
            yield fits, None
        return
    from restore_sdk.restorer import Restorer  # noqa: PLC0415 loads numpy and OpenCV

    flags.check_unused(model)
    with Restorer(model, **place) as restorer:
        yield restorer.in_sequence(reuse=reuse)


def refuse_existing(out: str) -> None:
    """Raise UsageError for a file that is there already; what else may be wrong with a target is found later."""
    if os.path.isfile(out) or os.path.islink(out):
        raise UsageError(f"{out} exists; {OVERWRITE}")


class PictureProgress:
    """One bar on stderr: pictures, pictures a second, time to go; a line now and then where stderr is no terminal.

    silent   no lines
    resumes  say so if there was nothing to go on with
    """

    def __init__(self, name: str, *, silent: bool = False, resumes: bool = False) -> None:
        self._name, self._silent, self._resumes = name, silent, resumes
        self._said = time.monotonic()
        self.total: int | None = None
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> PictureProgress:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415 slow to load

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            more = (TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[left]}"))
            console = stderr_console()
            self._bar = Progress(*columns, *more, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=None, rate="", left="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, progress: Progress) -> None:
        """Fits `on_progress` of restore_video."""
        left = "" if progress.eta is None else f"{clock(progress.eta)} to go"
        self.total = None if progress.total is None else max(progress.total, progress.done)
        if self._resumes and progress.done == 1:
            (note if self._bar is None else self._bar.console.print)("nothing to resume, starting anew")
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.done, total=self.total, rate=f"{progress.fps:.1f} fps", left=left)
        elif not self._silent and time.monotonic() - self._said >= SECONDS_BETWEEN_NOTES:
            self._said = time.monotonic()
            note(f"{_counted(progress.done, self.total)}, {progress.fps:.1f} fps{left and f', {left}'}")


def _counted(done: int, total: int | None) -> str:
    return f"{done} pictures" if total is None else f"{done} of {total} pictures"


def _what_is_kept(out: str, total: int | None, model: str) -> str:
    """What an interrupted run leaves beside `out`, and how to go on with it."""
    from restore_sdk.image.atomic import resolve_target  # noqa: PLC0415 loads numpy
    from restore_sdk.stream.video_parts import FIT_PART_FRAMES, PartFolder  # noqa: PLC0415

    folder = PartFolder(resolve_target(Path(out)), FIT_PART_FRAMES if dip_flags.means_fit(model) else None)
    kept = folder.kept
    how = "go on with --resume and the same settings" if kept else f"they are kept {folder.part_frames} at a time"
    return f"{_counted(kept, total)} kept; {how}"


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _report_failure(error: StreamError, *, as_json: bool, debug: bool) -> int:
    """Say that a picture could not be restored; returns the exit code of what kept it from being restored."""
    complain(error, debug=debug)
    code = int(exit_code(error.cause))
    if as_json:
        say_json({"command": "video", "exit_code": code, "error": {**error_record(error), "exit_code": code}, "report": None})
    return code


def _say_report(report: VideoReport, runtime: Mapping[str, object], *, as_json: bool) -> None:
    for notice in report.notices:
        note(f"{_shown(str(report.source))}: {notice}")
    if as_json:
        say_json({"command": "video", "exit_code": 0, "report": dataclasses.asdict(report), "runtime": runtime})
        return
    reused = "" if report.reused is None else f"  {report.reused:.0%} of the tiles reused"
    resumed = f" ({report.resumed} from before)" if report.resumed else ""
    shape = f"{report.width} x {report.height}  {report.frames} pictures{resumed}  {report.codec} {report.format}"
    line = f"restored  {_shown(str(report.source))} -> {_shown(str(report.target))}  {shape}  {report.seconds:.1f} s{reused}"
    (note if str(report.target) == PIPE else say)(line)


def _shown(path: str) -> str:
    return "standard stream" if path == PIPE else Path(path).name if len(path) > 60 else path
