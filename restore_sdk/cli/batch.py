"""Files one after another: a bad one does not stop the rest, Ctrl-C ends the run in good order, and each one's fate is kept."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from restore_sdk.cli.console import FileProgress, error_record, note
from restore_sdk.cli.exit_codes import ExitCode, combined, exit_code
from restore_sdk.cli.sources import NOT_REGULAR, Job
from restore_sdk.errors import ImageReadError, ImageWriteError

if TYPE_CHECKING:
    from restore_sdk.image_files import FileReport

Status: TypeAlias = Literal["restored", "skipped", "failed", "interrupted", "not started"]
TileCallback: TypeAlias = Callable[[int, int], None]  # on_tile(done, total)
RestoreJob: TypeAlias = "Callable[[Job, TileCallback], FileReport]"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one input."""

    source: Path
    target: Path | None
    status: Status
    report: FileReport | None = None
    error: BaseException | None = None

    def line(self) -> str:
        """One line for people; why it failed is said on stderr."""
        if self.status == "failed":
            return f"failed    {self.source}"
        done = "" if self.report is None else f"  {self.report.width} x {self.report.height}  {self.report.seconds:.2f} s"
        return f"{self.status:<9} {self.source} -> {self.target}{done}"

    def record(self) -> dict[str, object]:
        """The same as JSON."""
        report = {} if self.report is None else dataclasses.asdict(self.report)
        error = None if self.error is None or self.status == "interrupted" else error_record(self.error)
        return {
            **report,
            "source": str(self.source),
            "target": self.target and str(self.target),
            "status": self.status,
            "error": error,
        }


def missing_input(error: ImageReadError) -> Outcome:
    """The outcome of an input that is not there."""
    return Outcome(error.path, None, "failed", error=error)


def run_jobs(jobs: Sequence[Job], restore: RestoreJob, progress: FileProgress) -> Iterator[Outcome]:
    """Do every job in order. After an interrupt the current job is "interrupted" and the others are "not started"."""
    waiting = list(jobs)
    while waiting:
        job = waiting.pop(0)
        progress.file_started(job.source.name)
        outcome = _attempt(job, restore, progress.tile_done)
        progress.file_done()
        yield outcome
        if outcome.status == "interrupted":
            break
    yield from (Outcome(job.source, job.target, "not started") for job in waiting)


def _attempt(job: Job, restore: RestoreJob, on_tile: TileCallback) -> Outcome:
    try:
        _make_folder(job.target.parent)
        return Outcome(job.source, job.target, "restored", restore(job, on_tile))
    except KeyboardInterrupt as exc:
        return Outcome(job.source, job.target, "interrupted", error=exc)
    except Exception as exc:  # noqa: BLE001 the edge of the program: even a bug of ours on one file leaves the others to be done
        return Outcome(job.source, job.target, "failed", error=exc)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ImageWriteError(folder, f"the folder cannot be made ({exc.strerror}); name another OUT") from exc


def skipped(job: Job) -> Outcome:
    """The outcome of a job whose target is there already."""
    return Outcome(job.source, job.target, "skipped")


def code_of(outcomes: Sequence[Outcome]) -> ExitCode:
    """Exit code of the run: interrupted before all else, then how many failed and why. A skipped file is no failure."""
    if any(outcome.status == "interrupted" for outcome in outcomes):
        return ExitCode.INTERRUPTED
    failures = [exit_code(outcome.error) for outcome in outcomes if outcome.status == "failed" and outcome.error is not None]
    return combined(failures, len(outcomes) - len(failures))


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many of each status, without those that none has."""
    found = Counter(outcome.status for outcome in outcomes)
    return {status: found[status] for status in get_args(Status) if found[status]}


def note_summary(outcomes: Sequence[Outcome], left_out: Mapping[str, int], code: ExitCode, seconds: float) -> None:
    """Say on stderr what became of the run; `left_out` as Work has it."""
    if len(outcomes) > 1 or code is ExitCode.INTERRUPTED:
        note(", ".join(f"{status}: {number}" for status, number in counts(outcomes).items()) + f"; {seconds:.1f} s")
    kinds = {suffix: number for suffix, number in sorted(left_out.items()) if suffix != NOT_REGULAR}
    if others := left_out.get(NOT_REGULAR):
        note(f"skipped {others} that are no regular files; save the images to files first")
    if kinds:
        named = ", ".join(f"{suffix}: {number}" for suffix, number in kinds.items())
        note(f"left out {sum(kinds.values())} files that have no suffix of an image ({named}); name them to try them")
    if "skipped" in counts(outcomes):
        note("skipped targets exist; pass --overwrite to replace them")
