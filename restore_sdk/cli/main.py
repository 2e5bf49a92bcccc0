"""The program `restore`; `python -m restore_sdk` is the same. Each command loads what it needs only when it runs."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from restore_sdk import __version__
from restore_sdk.cli.camera import camera
from restore_sdk.cli.doctor import doctor
from restore_sdk.cli.engines import engines
from restore_sdk.cli.image import image
from restore_sdk.cli.models import models
from restore_sdk.cli.program import Program
from restore_sdk.cli.video import video

EXIT_CODES = (
    "Exit codes: 0 done; 1 internal error; 2 wrong usage; 3 no image could be read or written; 4 model missing, damaged or of "
    "another hash; 5 device, provider or extra not available; 6 some files failed, see the report; 7 out of memory; "
    "130 interrupted."
)

app = typer.Typer(
    name="restore",
    cls=Program,
    help="Restore images with models trained without clean targets.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"restore-sdk {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Restore images with models trained without clean targets."""


app.command(epilog=EXIT_CODES)(image)
app.command(epilog=EXIT_CODES)(video)
app.command(epilog=EXIT_CODES)(camera)
app.add_typer(models, name="models")
app.add_typer(engines, name="engines")
app.command()(doctor)


def main() -> None:
    """Run the program and leave with its exit code. start.py is where it begins."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be text in any encoding
    app(prog_name="restore")
