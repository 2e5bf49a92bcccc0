"""From the flags of `python -m training METHOD` to a finished run and an exit code."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from training.data.folder import DataError
from training.engine.checkpoint import CheckpointError, read_card
from training.engine.config import ConfigError, read_config
from training.engine.errors import HardwareError, RunExistsError, SettingsChangedError, TrainingError, TrainingInterrupted
from training.engine.files import WriteError
from training.engine.fit import Run, fast_dev, fit, process_number
from training.engine.resuming import check_same_settings
from training.engine.run_folder import check_unused
from training.engine.scores import verdict
from training.methods import METHODS, check_method, with_data

FAILED, BAD_INPUT = 1, 2
_OUT_OF_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory", re.IGNORECASE)  # of PyTorch's RuntimeErrors
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
        if process_number() == 0:  # it speaks for all
            _report(run, as_json=request.as_json)
    except TrainingInterrupted as exc:
        return _end(str(exc), exc.exit_code, "yellow")
    except KeyboardInterrupt:
        return _end("stopped at once; what was saved before is kept", 128 + signal.SIGINT, "yellow")
    except (ConfigError, DataError, CheckpointError, RunExistsError, SettingsChangedError, HardwareError) as exc:
        return _end(f"error: {exc}", BAD_INPUT)
    except (TrainingError, OSError) as exc:
        remedy = ", then pass --resume to go on" if isinstance(exc, WriteError) else ""
        return _end(f"error: {exc}{remedy}", FAILED)
    except (RuntimeError, MemoryError) as exc:
        if not isinstance(exc, MemoryError) and not _OUT_OF_MEMORY.search(str(exc)):
            raise
        said = (str(exc) or type(exc).__name__).splitlines()[0]
        return _end(f"error: out of memory, lower data.batch or data.patch ({said})", FAILED)
    return 0


def train(request: Request) -> Run:
    """Read the configuration, load the data, train. Raises what those raise."""
    chosen = METHODS[request.method]
    overrides = with_data(list(request.overrides), request.data)
    check_method(request.method, request.config, overrides)
    config = read_config(chosen.config, request.config, overrides)
    resume, overwrite = request.resume, request.overwrite
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite contradict each other; pass one of them")
    if request.fast_dev_run:
        config, resume, overwrite = fast_dev(config), False, True
    first_process = process_number() == 0
    if first_process:
        check_unused(config.folder, resume=resume, overwrite=overwrite)  # before the data, which may take long to load
        if resume:
            check_same_settings(config, config.folder)
    run = chosen.make_run(config)
    if first_process:
        _say(run.summary)
    fit(run, resume=resume, overwrite=overwrite)
    return run


def _report(run: Run, *, as_json: bool) -> None:
    card = read_card(run.folder)  # of a run that was finished before, that of its files
    lines = [f"{run.folder}: {card['steps']} steps"]
    if run.scores:
        lines += ["PSNR of what was held out, given -> restored", *(f"  {score}" for score in run.scores)]
    record = {"folder": str(run.folder), **card, "held_out": [dataclasses.asdict(score) for score in run.scores]}
    sys.stdout.write((json.dumps(record) if as_json else "\n".join(lines)) + "\n")
    if verdict(run.scores):
        _say(f"warning: {verdict(run.scores)}", "yellow")


def _end(message: str, code: int, style: str = "red") -> int:
    _say(message, style)
    return code


def _say(message: str, style: str | None = None) -> None:
    console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)
