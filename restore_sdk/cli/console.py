"""What the program says: results on stdout, everything else (errors, notes, progress bars) on stderr."""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from restore_sdk.cli.exit_codes import exit_code
from restore_sdk.errors import RestoreError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from restore_sdk.backends.wishes import OnProgress


LONGEST_NAME = 28  # characters beside a bar
SPEED_SECONDS = 600  # of steps that the remaining time is estimated from; some steps of a build take minutes


def say(line: str) -> None:
    """One line of result."""
    typer.echo(line)


def say_json(result: Mapping[str, Any]) -> None:
    """The one JSON object of a command."""
    typer.echo(json.dumps(result, indent=2, default=str))


def note(line: str) -> None:
    """Something worth knowing that is no result."""
    stderr_console().print(line)


def complain(error: BaseException, *, debug: bool, about: Path | None = None) -> None:
    """One clean message; with `debug` the traceback above it. `about`: the file at fault, named where the message does not."""
    if debug:
        typer.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    console = stderr_console()
    console.print("error:", style="bold red", end=" ")
    message = message_of(error)
    named = about is None or hasattr(error, "path") or isinstance(error, KeyboardInterrupt)
    console.print(message if named else f"{about}: {message}")


def message_of(error: BaseException) -> str:
    """What a person is told; a bug is named by its type."""
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; {error}" if error.args else "interrupted"
    if isinstance(error, MemoryError):
        return f"out of memory ({error or 'allocation failed'}); pass a smaller --tile, for example --tile 256"
    if isinstance(error, (RestoreError, OSError)):
        return str(error)
    return f"internal error ({type(error).__name__}: {error}); this is a bug: run it again with --debug and report what it prints"


def error_record(error: BaseException) -> dict[str, object]:
    """`error` as JSON: "type", "message" and the exit code it alone would lead to."""
    return {"type": type(error).__name__, "message": message_of(error), "exit_code": int(exit_code(error))}


@contextmanager
def errors_reported(command: str, *, as_json: bool = False, debug: bool = False, **fields: object) -> Iterator[None]:
    """End the command with a message and its exit code, whatever is raised inside.

    `as_json` adds an object on stdout, with `fields` so that it has the keys of a success.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 the edge of the program
        complain(exc, debug=debug)
        code = exit_code(exc)
        if as_json:
            say_json({"command": command, "exit_code": int(code), "error": error_record(exc), **fields})
        raise typer.Exit(code) from None


def _show_warning(message: Warning | str, *_place: object, **_more: object) -> None:
    """A warning is for the person at the terminal, who has no use for the line of code it came from."""
    console = stderr_console()
    console.print("warning:", style="bold yellow", end=" ")
    console.print(str(message))


def stderr_console() -> Console:
    """Where everything goes that is no result: plain text, nothing in it is markup."""
    from rich.console import Console  # noqa: PLC0415 slow to load, needed only to say something

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True, emoji=False)


class FileProgress:
    """Two bars on stderr, files and the tiles inside the current one; silent where stderr is no terminal.

    `say` prints a result: on stdout, or above the bars where stdout and stderr are the same screen.
    """

    def __init__(self, files: int) -> None:
        self._files = files
        self._bars: Progress | None = None
        self._file_task: TaskID | None = None
        self._tile_task: TaskID | None = None

    def __enter__(self) -> FileProgress:
        console = stderr_console()
        if sys.stderr.isatty() and not console.is_dumb_terminal:
            self._bars = _bars(console)
            self._bars.start()
            self._file_task = self._bars.add_task("files", total=self._files)
            self._tile_task = self._bars.add_task("  tiles", total=None, visible=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def file_started(self, name: str) -> None:
        shown = name if len(name) <= LONGEST_NAME else f"...{name[3 - LONGEST_NAME :]}"
        self._update(self._file_task, description=shown)
        self._update(self._tile_task, visible=False)

    def tile_done(self, done: int, total: int) -> None:
        """Fits `on_tile` of the SDK. A single tile shows no bar of its own."""
        self._update(self._tile_task, completed=done, total=total, visible=total > 1)

    def file_done(self) -> None:
        self._update(self._file_task, advance=1)

    def say(self, line: str) -> None:
        if self._bars is not None and sys.stdout.isatty():
            self._bars.console.print(line)
        else:
            say(line)

    def _update(self, task: TaskID | None, **changes: Any) -> None:
        if self._bars is not None and task is not None:
            self._bars.update(task, **changes)


def _bars(console: Console) -> Progress:
    from rich import progress  # noqa: PLC0415 slow to load

    columns = (progress.TextColumn("{task.description}", markup=False), progress.BarColumn(), progress.MofNCompleteColumn())
    times = (progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
    # stdout must stay what it is, or results that go to a file would land on the terminal
    return progress.Progress(*columns, *times, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)


@contextmanager
def build_shown() -> Iterator[OnProgress | None]:
    """A bar with the time that remains, on a terminal, once an engine begins to build; nothing elsewhere, or after the block."""
    from rich import progress  # noqa: PLC0415 slow to load

    console = stderr_console()
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        yield None
        return
    columns = (progress.BarColumn(), progress.TaskProgressColumn(), progress.TextColumn("{task.description}", markup=False))
    times = (progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
    bar = progress.Progress(
        *columns, *times, console=console, transient=True, redirect_stdout=False, speed_estimate_period=SPEED_SECONDS
    )
    task = bar.add_task("reading the model", total=1.0)
    drawing, over = Lock(), Event()

    def show(fraction: float, phase: str) -> None:
        with drawing:
            if not over.is_set():  # what was opened keeps this, and may build a wider engine on some thread much later
                bar.start()
                bar.update(task, completed=fraction, description=phase)

    try:
        yield show
    finally:
        over.set()
        with drawing:
            bar.stop()
