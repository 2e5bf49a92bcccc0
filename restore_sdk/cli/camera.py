"""`restore camera`: its flags, and the loop from the camera to the sink."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from restore_sdk.cli.console import complain, error_record, errors_reported, note, say, say_json
from restore_sdk.cli.exit_codes import ExitCode, UsageError, exit_code
from restore_sdk.cli.flags import Debug, Json
from restore_sdk.cli.image import BackendName, Device, Model, Threads, Tile, tile_choice
from restore_sdk.cli.sources import refuse_empty
from restore_sdk.cli.video import refuse_existing

if TYPE_CHECKING:
    from restore_sdk.restorer import Restorer
    from restore_sdk.stream.camera import Camera, CameraFrame
    from restore_sdk.stream.camera_sinks import CameraSink
    from restore_sdk.stream.frames import FrameStream

SECONDS_BETWEEN_LINES = 2.0
POLICIES = ("latest-only", "drop-oldest", "block")

Source: TypeAlias = Annotated[
    str, typer.Argument(metavar="SRC", help="A number, /dev/video0, or an address such as rtsp://host/path.")
]
Out: TypeAlias = Annotated[
    str,
    typer.Option("--out", "-o", metavar="OUT", help="window, a video file, or where to send: rtsp://, udp://, rtmp://, srt://."),
]
Codec: TypeAlias = Annotated[str, typer.Option("--codec", help="An encoder by FFmpeg's name, for files and sending.")]
Policy: TypeAlias = Annotated[
    str,
    typer.Option(
        "--policy", metavar="|".join(POLICIES), help="What becomes of pictures that come faster than they are restored."
    ),
]
MaxAge: TypeAlias = Annotated[
    float | None, typer.Option("--max-age", metavar="S", help="Drop pictures that are older than S seconds.")
]
GiveUp: TypeAlias = Annotated[
    float, typer.Option("--give-up-after", metavar="S", help="End when the camera gave nothing for S seconds; 0: never.")
]
Transport: TypeAlias = Annotated[str, typer.Option("--transport", metavar="tcp|udp", help="Of RTSP.")]
Frames: TypeAlias = Annotated[int | None, typer.Option("--frames", min=1, help="End after so many pictures.")]
Seconds: TypeAlias = Annotated[float | None, typer.Option("--seconds", help="End after so many seconds of pictures.")]
Overwrite: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is a file that exists.")]


def camera(
    source: Source,
    *,
    out: Out = "window",
    model: Model = "denoise",
    backend: BackendName = "auto",
    device: Device = "auto",
    tile: Tile = "auto",
    codec: Codec = "libx264",
    policy: Policy = "latest-only",
    max_age: MaxAge = None,
    give_up_after: GiveUp = 60.0,
    transport: Transport = "tcp",
    frames: Frames = None,
    seconds: Seconds = None,
    overwrite: Overwrite = False,
    threads: Threads = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Restore a camera's pictures as they come; end with Ctrl-C, or Escape in the window."""
    with errors_reported("camera", as_json=as_json, debug=debug, health=None):
        from restore_sdk.restorer import Restorer  # noqa: PLC0415 loads numpy and OpenCV
        from restore_sdk.stream.camera import Camera  # noqa: PLC0415
        from restore_sdk.stream.camera_errors import CameraTargetError  # noqa: PLC0415
        from restore_sdk.stream.camera_options import CameraOptions  # noqa: PLC0415
        from restore_sdk.stream.camera_sinks import WINDOW, open_sink  # noqa: PLC0415

        refuse_empty(source, out, remedy="name a camera, and a file or window")
        if policy not in POLICIES:
            raise UsageError(f"--policy {policy!r} is none of {', '.join(POLICIES)}; pass one of them")
        if seconds is not None and not seconds > 0:
            raise UsageError(f"--seconds {seconds} is no time; pass more than 0, or leave it out")
        _refuse_file(source)
        if out != WINDOW and not overwrite:
            refuse_existing(out)
        options = CameraOptions(give_up_after=give_up_after or None, transport=transport)  # type: ignore[arg-type]
        try:
            sink = open_sink(out, codec=codec, overwrite=overwrite)
        except CameraTargetError as exc:
            raise UsageError(str(exc)) from exc
        with Restorer(model, backend=backend, device=device, tile=tile_choice(tile), threads=threads) as restorer:
            run = _Run(Camera(source, options), sink, frames, seconds)
            failure = run.go(restorer, policy, max_age)
            runtime = restorer.report()
    code = ExitCode.OK if failure is None else exit_code(failure)
    if failure is not None and not isinstance(failure, KeyboardInterrupt):
        complain(failure, debug=debug)
    run.report(code, failure, runtime, as_json=as_json)
    raise typer.Exit(code)


def _refuse_file(source: str) -> None:
    """A file has an end, which a camera has not: it would be connected to again for ever."""
    if os.path.isfile(source.removeprefix("file://").removeprefix("file:")):
        raise UsageError(f"{source} is a file, not a camera; pass it to `restore video`")


class _Run:
    """One run of the command."""

    def __init__(self, source: Camera, sink: CameraSink, frames: int | None, seconds: float | None) -> None:
        self._camera, self._sink = source, sink
        self._most_frames, self._most_seconds = frames, seconds
        self._written = self._dropped = 0
        self._first_at: float | None = None

    def go(self, restorer: Restorer, policy: str, max_age: float | None) -> BaseException | None:
        """Until the end that was asked for; what ended it otherwise."""
        from restore_sdk.stream.camera import restored_camera  # noqa: PLC0415
        from restore_sdk.stream.camera_errors import CameraSinkError  # noqa: PLC0415
        from restore_sdk.stream.errors import StreamError  # noqa: PLC0415

        stream = restored_camera(self._camera, restorer.restore, policy=policy, max_age=max_age)  # type: ignore[arg-type]
        failure: BaseException | None = None
        try:
            self._write_all(stream)
        except StreamError as exc:
            failure = exc.cause
        except (CameraSinkError, KeyboardInterrupt) as exc:
            failure = exc
        finally:
            self._dropped = stream.dropped
            self._camera.close()
            stream.close()
            try:
                self._sink.close()
            except CameraSinkError as exc:
                failure = failure or exc
        return failure

    def report(self, code: ExitCode, failure: BaseException | None, runtime: object, *, as_json: bool) -> None:
        """What became of it."""
        health = self._camera.health()
        if not as_json:
            say(f"{health.source}: {self._written} pictures restored, {self._dropped} dropped, {health.connections} connections")
            return
        facts = {"command": "camera", "exit_code": int(code), "restored": self._written, "dropped": self._dropped}
        error = None if failure is None else error_record(failure)
        say_json({**facts, "health": dataclasses.asdict(health), "error": error, "runtime": runtime})

    def _write_all(self, stream: FrameStream[CameraFrame]) -> None:
        next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        for frame in stream:
            self._first_at = frame.at if self._first_at is None else self._first_at
            if not self._sink.write(frame):
                return
            self._written += 1
            if sys.stderr.isatty() and time.monotonic() > next_line:
                next_line += SECONDS_BETWEEN_LINES
                rate = self._camera.health().frames_per_second or 0.0
                note(f"{self._written} pictures, {stream.dropped} dropped, {rate:.1f} in a second")
            enough = self._most_seconds is not None and frame.at - self._first_at >= self._most_seconds
            if enough or self._written == self._most_frames:
                return
