"""What can go wrong between a checkpoint and a model file. All are RestoreErrors; the models' own are ModelErrors."""

from __future__ import annotations

import math
from collections.abc import Sequence
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

    def __init__(
        self,
        worst: float,
        tolerance: float,
        shape: tuple[int, ...],
        remedy: str,
        *,
        psnr: float = math.inf,
        least_psnr: float = -math.inf,
    ) -> None:
        measured = f"{worst:.3g} ({psnr:.1f} dB)" if math.isfinite(least_psnr) else f"{worst:.3g}"
        wanted = f"{tolerance:.3g} and {least_psnr:g} dB" if math.isfinite(least_psnr) else f"{tolerance:.3g}"
        super().__init__(f"the outputs differ by {measured} on an input of shape {shape}, expected at most {wanted}; {remedy}")
        self.worst, self.tolerance, self.shape = worst, tolerance, shape
        self.psnr, self.least_psnr = psnr, least_psnr


class HalfPrecisionError(ModelError):
    """A network that FP16 cannot hold; `layers` are the module paths to blame, `psnr` (dB) and `max_abs` the worst measured."""

    def __init__(self, layers: Sequence[str], psnr: float, max_abs: float, reason: str, remedy: str = "") -> None:
        where = ", ".join(layers) or "the network as a whole"
        remedy = remedy or f"pass --keep-fp32 auto, or --keep-fp32 {','.join(layers)}"
        super().__init__(f"FP16 differs from FP32 by {max_abs:.3g} ({psnr:.1f} dB): {reason} in {where}; {remedy}")
        self.layers, self.psnr, self.max_abs, self.reason = tuple(layers), psnr, max_abs, reason


class Int8LossError(ModelError):
    """A network that INT8 costs too much; `loss` in dB, where it is worst: at `damage`, such as "sigma 25"."""

    def __init__(self, loss: float, most: float, damage: str) -> None:
        super().__init__(
            f"INT8 loses {loss:.2f} dB at {damage}, expected at most {most:g}; "
            "calibrate on images like those to be restored, or pass a larger --max-loss-db"
        )
        self.loss, self.most, self.damage = loss, most, damage


class OutputError(RestoreError, OSError):
    """A file that cannot be written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot write {path}: {reason}")
        self.path, self.reason = path, reason
