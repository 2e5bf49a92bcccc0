"""Why a training did not go through. Each message says what happened, what is kept and what to do.

ValueError
    ConfigError       engine/config.py: a configuration that cannot be used
    DataError         data/folder.py: a data folder that cannot be used
    CheckpointError   engine/checkpoint.py: a checkpoint that cannot be used
    RunExistsError    the run's folder already holds a run
    SettingsChangedError  a run is to go on with settings that are not its own
OSError
    WriteError        engine/files.py: a file that cannot be written, as on a full disk
RuntimeError
    TrainingError     the training itself failed
        DivergedError
        HardwareError
Exception
    TrainingInterrupted
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path


class RunExistsError(ValueError):
    """The run's folder already holds a run, and neither resume nor overwrite was asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder} already holds a run; pass --resume to go on with it, --overwrite to delete it and start anew, "
            "or --set name=... for another folder"
        )
        self.folder = folder


class SettingsChangedError(ValueError):
    """A run is to go on with settings that change what it learns. `changed`: by key, the run's own and the new one."""

    def __init__(self, folder: Path, changed: Mapping[str, tuple[object, object]]) -> None:
        told = ", ".join(f"{key}={now!r} instead of {was!r}" for key, (was, now) in changed.items())
        super().__init__(
            f"--resume cannot go on with {folder} under other settings: {told}; pass the old settings ({folder / 'config.toml'} "
            "holds them), --set name=... for a new run, or --overwrite to delete this one and start anew"
        )
        self.folder, self.changed = folder, dict(changed)


class TrainingError(RuntimeError):
    """The training failed; what was saved before is kept."""


class DivergedError(TrainingError):
    """The loss or the averaged weights are not finite."""

    def __init__(self, what: str, step: int, folder: Path) -> None:
        super().__init__(
            f"{what} at step {step}: the training diverged; checkpoints in {folder} are those from before, if there are any; "
            "pass --resume with a lower trainer.learning_rate to go on from there, or --overwrite with one to start anew"
        )
        self.step, self.folder = step, folder


class HardwareError(TrainingError):
    """The accelerator or the number of devices that was asked for is not there."""

    def __init__(self, accelerator: str, devices: int | str, reason: str) -> None:
        super().__init__(
            f"trainer.accelerator={accelerator!r} with trainer.devices={devices!r} cannot be used ({reason}); use 'auto' for both"
        )
        self.accelerator, self.devices = accelerator, devices


class TrainingInterrupted(Exception):  # noqa: N818 (like KeyboardInterrupt: no mistake was made)
    """A signal ended the run after the step in hand; everything is saved in `folder`. `number` is the signal's."""

    def __init__(self, folder: Path, steps: int, number: int) -> None:
        super().__init__(f"interrupted after {steps} steps, saved in {folder}; pass --resume to go on")
        self.folder, self.steps, self.number = folder, steps, number

    @property
    def exit_code(self) -> int:
        """128 + the signal's number: 130 for Ctrl-C."""
        return 128 + self.number


INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
