"""One run of `restore image`: the files, one Restorer, the strip, and the report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from restore_sdk.cli.batch import (
    Outcome,
    RestoreJob,
    TileCallback,
    code_of,
    counts,
    missing_input,
    note_summary,
    run_jobs,
    skipped,
)
from restore_sdk.cli.compare import write_strip
from restore_sdk.cli.console import FileProgress, build_shown, complain, error_record, note, say_json
from restore_sdk.cli.exit_codes import ExitCode, UsageError
from restore_sdk.cli.flags import Settings, check_picture
from restore_sdk.cli.sources import Job, Work, plan_work
from restore_sdk.errors import ImageError
from restore_sdk.image.big_names import ZARR_SUFFIX
from restore_sdk.image.files import read_image, supported_read_suffixes, supported_write_suffixes
from restore_sdk.image_files import FileReport
from restore_sdk.restorer import Restorer


def restore_images(inputs: Sequence[str], out: str, settings: Settings, *, as_json: bool, debug: bool) -> ExitCode:
    """Restore all that `inputs` stand for into `out` and report it. Raises UsageError, and what opening the model raises."""
    started = time.perf_counter()
    readable, writable = supported_read_suffixes() | {ZARR_SUFFIX}, supported_write_suffixes() | {ZARR_SUFFIX}
    work = plan_work(inputs, out, readable=readable, writable=writable, overwrite=settings.overwrite)
    _check_strip(settings, work)
    run = _Run(settings, show=not as_json)
    run.do(work)
    return run.report(time.perf_counter() - started, as_json=as_json, debug=debug)


def _open(settings: Settings) -> Restorer:
    with build_shown() as on_progress:
        return Restorer(
            settings.model,
            backend=settings.backend,
            device=settings.device,
            tile=settings.tile,
            threads=settings.threads,
            build=settings.build.value,
            finite=settings.finite.value,
            on_progress=on_progress,
        )


def _check_strip(settings: Settings, work: Work) -> None:
    """Raise UsageError if the strip that --compare asks for could not be written where it says, or of what it says."""
    path = settings.compare
    if path is None:
        return
    if len(work.jobs) + len(work.missing) != 1:
        raise UsageError(f"--compare shows one input, got {len(work.jobs) + len(work.missing)}; run it once for each input")
    files = [file for job in work.jobs for file in (job.source, job.target)]
    check_picture("--compare", path, files, overwrite=settings.overwrite)


class _Run:
    """One run of the command: what was done, with what, and what went wrong."""

    def __init__(self, settings: Settings, *, show: bool) -> None:
        self._settings, self._show = settings, show
        self._outcomes: list[Outcome] = []
        self._left_out: Mapping[str, int] = {}
        self._what_ran: Mapping[str, object] | None = None
        self._strip_written = False
        self._strip_error: ImageError | OSError | None = None

    def do(self, work: Work) -> None:
        """Restore what is not there yet. The model is opened only if there is something to restore."""
        self._left_out = work.left_out
        to_do = [job for job in work.jobs if self._settings.overwrite or not job.exists]
        with FileProgress(len(to_do)) as progress:
            for early in [*map(missing_input, work.missing), *(skipped(job) for job in work.jobs if job not in to_do)]:
                self._note(early, progress)
            if to_do:
                self._restore(to_do, progress)

    def _restore(self, jobs: Sequence[Job], progress: FileProgress) -> None:
        before = self._pixels(jobs[0].source)  # before the target is written: it may be the source
        with _open(self._settings) as restorer:
            self._what_ran = restorer.report()
            for outcome in run_jobs(jobs, self._restore_job(restorer), progress):
                self._note(outcome, progress)
        if before is not None and self._outcomes[-1].status == "restored":
            self._write_strip(before, jobs[0].target)

    def _note(self, outcome: Outcome, progress: FileProgress) -> None:
        self._outcomes.append(outcome)
        if self._show:
            progress.say(outcome.line())

    def _restore_job(self, restorer: Restorer) -> RestoreJob:
        settings = self._settings

        def restore(job: Job, on_tile: TileCallback) -> FileReport:
            return restorer.restore_file(
                job.source,
                job.target,
                overwrite=settings.overwrite,
                metadata=settings.metadata.value,
                quality=settings.quality,
                on_tile=on_tile,
            )

        return restore

    def _pixels(self, path: Path) -> NDArray[Any] | None:
        """What --compare shows of `path`; None without --compare, or where restoring will say why it cannot be read."""
        try:
            return None if self._settings.compare is None else read_image(path).pixels
        except ImageError:
            return None

    def _write_strip(self, before: NDArray[Any], target: Path) -> None:
        if self._settings.compare is not None:
            try:
                write_strip(self._settings.compare, before, read_image(target).pixels)
                self._strip_written = True
            except (ImageError, OSError) as exc:
                self._strip_error = exc

    def report(self, seconds: float, *, as_json: bool, debug: bool) -> ExitCode:
        """Say what failed and why on stderr, and with `as_json` everything on stdout."""
        code = code_of(self._outcomes)
        if code is ExitCode.OK and self._strip_error is not None:
            code = ExitCode.PARTIAL
        for outcome in self._outcomes:
            for notice in () if outcome.report is None else outcome.report.notices:
                note(f"{outcome.source}: {notice}")
        for outcome in self._outcomes:
            if outcome.error is not None:
                complain(outcome.error, debug=debug, about=outcome.source)
        if self._strip_error is not None:
            complain(self._strip_error, debug=debug)
        note_summary(self._outcomes, self._left_out, code, seconds)
        if as_json:
            say_json(self._result(code, seconds))
        return code

    def _result(self, code: ExitCode, seconds: float) -> dict[str, object]:
        strip = self._settings.compare if self._strip_written else None
        return {
            "command": "image",
            "exit_code": int(code),
            "seconds": round(seconds, 4),
            "counts": counts(self._outcomes),
            "left_out": dict(self._left_out),
            "files": [outcome.record() for outcome in self._outcomes],
            "compare": None if strip is None else str(strip),
            "compare_error": None if self._strip_error is None else error_record(self._strip_error),
            "runtime": self._what_ran,
        }
