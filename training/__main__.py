"""python -m training METHOD --config FILE [--data DIR] [--resume] [--fast-dev-run] [--set key=value]"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train a restorer without clean targets.")
console = Console(stderr=True)
Configuration = Annotated[Path, typer.Option("--config", help="TOML file, for example configs/denoise.toml")]
Data = Annotated[Path | None, typer.Option("--data", help="folder of images, in place of the configuration's")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="key=value over the configuration; may be repeated")]


@app.callback()
def methods() -> None:
    """Each method is a sub-command."""


@app.command("self_supervised")
def self_supervised(
    config: Configuration,
    data: Data = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the run's last checkpoint")] = False,
    fast_dev_run: Annotated[bool, typer.Option("--fast-dev-run", help="two steps and one validation, to try a configuration")] = False,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Denoisers from one noisy observation of each image: R2R, SURE, Neighbor2Neighbor."""
    train("self_supervised", config, data, list(overrides or []), resume=resume, fast_dev_run=fast_dev_run, as_json=as_json)


def train(
    method: str, config: Path, data: Path | None, overrides: list[str], *, resume: bool, fast_dev_run: bool, as_json: bool
) -> None:
    """Read the configuration, train, print where the run lies. Bad input ends with exit code 2 and one line."""
    from training.data.folder import DataError
    from training.engine.config import ConfigError, read_config
    from training.engine.fit import fit
    from training.methods import METHODS, with_data

    chosen = METHODS[method]
    try:
        run = chosen.make_run(read_config(chosen.config, config, with_data(overrides, data)))
    except (ConfigError, DataError) as exc:
        console.print(f"error: {exc}", style="red", markup=False, highlight=False)
        raise typer.Exit(2) from exc
    folder = fit(run, resume=resume, fast_dev_run=fast_dev_run)
    card = dict(run.card())
    sys.stdout.write(json.dumps({"folder": str(folder), **card}) + "\n" if as_json else f"{folder}: {card['steps']} steps\n")


if __name__ == "__main__":
    app(prog_name="python -m training")
