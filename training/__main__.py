"""python -m training METHOD --config FILE [--data DIR] [--resume | --overwrite] [--fast-dev-run] [--set key=value]"""

from __future__ import annotations

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


@app.callback()
def methods() -> None:
    """Each method is a sub-command."""


@app.command("self_supervised")
def self_supervised(
    *,
    config: Configuration,
    data: Data = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    fast_dev_run: FastDevRun = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Denoisers from one noisy observation of each image: R2R, SURE, Neighbor2Neighbor.

    Exit codes: 0 done, 1 the training failed, 2 bad input, 130 interrupted (everything is saved; go on with --resume).
    """
    try:
        from training.command import Request, run_command  # noqa: PLC0415 (--help must not wait for PyTorch)
    except ModuleNotFoundError as exc:
        typer.echo(f"error: {exc.name!r} is missing; pip install 'restore-sdk[train]'", err=True)
        raise typer.Exit(2) from exc
    request = Request("self_supervised", config, data, tuple(overrides or ()), resume, overwrite, fast_dev_run, as_json)
    raise typer.Exit(run_command(request))


if __name__ == "__main__":
    app(prog_name="python -m training")
