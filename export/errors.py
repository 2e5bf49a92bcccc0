"""What can go wrong between a checkpoint and a model file. All are RestoreErrors; the models' own are ModelErrors."""

from __future__ import annotations

from pathlib import Path

from restore_sdk.errors import ModelError, RestoreError


class CheckpointUnusableError(ModelError):
    """A checkpoint that is missing, damaged or not one of ours."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path, self.reason = path, reason


class ExportError(ModelError):
    """A network that cannot become a model file that keeps its promises."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason


class DifferentNumbersError(ModelError):
    """Two forms of one network answer differently."""

    def __init__(self, worst: float, tolerance: float, shape: tuple[int, ...]) -> None:
        super().__init__(
            f"the outputs differ by {worst:.3g} on an input of shape {shape}, expected at most {tolerance:.3g}; "
            "look for a branch on the input's size, or pass another --opset"
        )
        self.worst, self.tolerance, self.shape = worst, tolerance, shape


class OutputError(RestoreError, OSError):
    """A file that cannot be written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot write {path}: {reason}")
        self.path, self.reason = path, reason
