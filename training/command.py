"""From the flags of `python -m training METHOD` to a finished run and an exit code."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from training.data.folder import DataError
from training.engine.checkpoint import CheckpointError
from training.engine.config import ConfigError, read_config
from training.engine.errors import HardwareError, RunExistsError, TrainingError, TrainingInterrupted
from training.engine.fit import Run, fast_dev, fit, process_number
from training.engine.run_folder import check_unused
from training.methods import METHODS, with_data

FAILED, BAD_INPUT = 1, 2
console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked on the command line."""

    method: str
    config: Path
    data: Path | None = None
    overrides: tuple[str, ...] = ()
    resume: bool = False
    overwrite: bool = False
    fast_dev_run: bool = False
    as_json: bool = False


def run_command(request: Request) -> int:
    """Train, print where the run lies; the exit code. Every expected failure is one line on stderr."""
    try:
        run = train(request)
    except TrainingInterrupted as exc:
        return _end(str(exc), exc.exit_code, "yellow")
    except KeyboardInterrupt:
        return _end("stopped at once; what was saved before is kept", 128 + signal.SIGINT, "yellow")
    except (ConfigError, DataError, CheckpointError, RunExistsError, HardwareError) as exc:
        return _end(f"error: {exc}", BAD_INPUT)
    except torch.OutOfMemoryError as exc:
        return _end(f"error: out of device memory, lower data.batch or data.patch ({str(exc).splitlines()[0]})", FAILED)
    except (TrainingError, OSError) as exc:
        return _end(f"error: {exc}", FAILED)
    if process_number() == 0:  # it speaks for all
        _report(run, as_json=request.as_json)
    return 0


def train(request: Request) -> Run:
    """Read the configuration, load the data, train. Raises what those raise."""
    chosen = METHODS[request.method]
    config = read_config(chosen.config, request.config, with_data(list(request.overrides), request.data))
    resume, overwrite = request.resume, request.overwrite
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite contradict each other; pass one of them")
    if request.fast_dev_run:
        config, resume, overwrite = fast_dev(config), False, True
    first_process = process_number() == 0
    if first_process:
        check_unused(config.folder, resume=resume, overwrite=overwrite)  # before the data, which may take long to load
    run = chosen.make_run(config)
    if first_process:
        _say(run.summary)
    fit(run, resume=resume, overwrite=overwrite)
    return run


def _report(run: Run, *, as_json: bool) -> None:
    card = dict(run.card())
    text = json.dumps({"folder": str(run.folder), **card}) if as_json else f"{run.folder}: {card['steps']} steps"
    sys.stdout.write(text + "\n")


def _end(message: str, code: int, style: str = "red") -> int:
    _say(message, style)
    return code


def _say(message: str, style: str | None = None) -> None:
    console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)
