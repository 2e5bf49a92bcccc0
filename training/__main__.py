"""python -m training METHOD --config FILE [--data DIR] [--resume | --overwrite] [--fast-dev-run] [--set key=value]
python -m training degrade IMAGE --corruption SPEC -o OUT
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train a restorer without clean targets.")
Configuration = Annotated[Path, typer.Option("--config", help="TOML file, for example configs/denoise.toml")]
Data = Annotated[Path | None, typer.Option("--data", help="folder of images, in place of the configuration's")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="key=value over the configuration; may be repeated")]
Resume = Annotated[bool, typer.Option("--resume", help="go on from the run's last checkpoint, if there is one")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="delete the run that is in the folder")]
FastDevRun = Annotated[bool, typer.Option("--fast-dev-run", help="two steps and one validation in runs/NAME-fast-dev")]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
METHODS = {  # those of training/methods.py, which takes PyTorch to load
    "self_supervised": "Denoisers from one noisy observation of each image: R2R, SURE, Neighbor2Neighbor.",
    "unir": "Restorers from corrupted images alone: an adversary compares measurements, or hidden values are asked back.",
}
EXIT_CODES = (
    "Exit codes: 0 done, 1 the training failed, 2 bad input, 5 the extra train is missing, 130 or 143 interrupted by Ctrl-C or "
    "SIGTERM (everything is saved; go on with --resume)."
)

EXTRA_MISSING = 5  # as `restore` and `export` say it


@contextmanager
def _imports() -> Iterator[None]:
    """What a sub-command imports as it runs, since --help must not wait for PyTorch; the remedy if that is not installed.

    Ctrl-C ends the process at once: broken off in an import, compiled modules answer with errors of their own.
    """
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    except ModuleNotFoundError as exc:
        typer.echo(f"error: {exc.name!r} is not installed; run: pip install 'restore-sdk[train]'", err=True)
        raise typer.Exit(EXTRA_MISSING) from exc
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@app.callback()
def methods() -> None:
    """Each method is a sub-command."""


def _add_method(name: str, what: str) -> None:
    def method(
        *,
        config: Configuration,
        data: Data = None,
        resume: Resume = False,
        overwrite: Overwrite = False,
        fast_dev_run: FastDevRun = False,
        overrides: Overrides = None,
        as_json: AsJson = False,
    ) -> None:
        with _imports():
            from training.command import Request, run_command  # noqa: PLC0415
        request = Request(name, config, data, tuple(overrides or ()), resume, overwrite, fast_dev_run, as_json)
        raise typer.Exit(run_command(request))

    app.command(name, help=f"{what}\n\n{EXIT_CODES}")(method)


for _name, _what in METHODS.items():
    _add_method(_name, _what)


@app.command("degrade")
def degrade(
    image: Annotated[Path, typer.Argument(help="the image to corrupt")],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="where to write it, in a format without loss")],
    corruption: Annotated[str | None, typer.Option(help="such as remove-pixel:p=0.9")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="decides all that is random; 0, or the recorded one", show_default=False)
    ] = None,
    strip: Annotated[bool, typer.Option("--strip", help="write the image before and after, side by side")] = False,
    record: Annotated[Path | None, typer.Option(help="write the corruption and what it drew to this .safetensors file")] = None,
    replay: Annotated[Path | None, typer.Option(help="corrupt again as recorded in this file")] = None,
) -> None:
    """Show what a corruption does to an image.

    Exit codes: 0 done, 1 the file could not be written, 2 bad input, 5 the extra train is missing.
    """
    with _imports():
        from training.degrade_command import Request, run_command  # noqa: PLC0415
    raise typer.Exit(run_command(Request(image, output, corruption, seed, strip, record, replay)))


if __name__ == "__main__":
    app(prog_name="python -m training")
