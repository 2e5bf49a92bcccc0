"""The same numbers from two forms of one network, at the shapes where exports go wrong.

Tracing keeps one branch of every `if` on a size and floors every odd division without a word, so an export that runs is not
an export that is right: only other shapes than the traced one show it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from export.calibration import lossy, texture
from export.checkpoint import Checkpoint, load_checkpoint
from export.errors import DifferentNumbersError, ExportError
from export.runtime import opened
from export.stamp import fill_of, read_stamped
from export.tolerance import TOLERANCES, Precision, Tolerance, difference, tolerance_for
from restore_sdk.backends.base import Backend, FloatNCHW
from restore_sdk.backends.engine_profile import EngineProfile
from restore_sdk.backends.onnx_file import OnnxFile, read_onnx
from restore_sdk.backends.tensorrt_engine import open_tensorrt
from restore_sdk.backends.torch_program import open_torch_program
from restore_sdk.backends.wishes import PLAN_SUFFIX, PROGRAM_SUFFIX
from restore_sdk.spec import METADATA_KEY, ModelSpec

Infer: TypeAlias = Callable[[FloatNCHW], FloatNCHW]
Shape: TypeAlias = tuple[int, int, int, int]

TOLERANCE = TOLERANCES[Precision.FP32].max_abs
LARGE_SIDES = (384, 512)


@dataclass(frozen=True, slots=True)
class Difference:
    """Two outputs for one input of `shape` (N, C, H, W): the largest difference (NaN: not comparable) and PSNR in dB."""

    label: str
    shape: Shape
    max_abs: float
    psnr: float  # of one output against the other, peak 1; infinite where they are equal

    def as_json(self) -> dict[str, Any]:
        return {name: value if _is_finite(value) else None for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Verification:
    """One Difference for each shape. `tolerance` is the largest difference allowed, in units of value_range, and `least_psnr`
    the least PSNR in dB."""

    differences: tuple[Difference, ...]
    tolerance: float
    least_psnr: float = -math.inf

    @property
    def worst(self) -> Difference:
        return max(self.differences, key=lambda item: math.inf if math.isnan(item.max_abs) else item.max_abs)

    @property
    def passed(self) -> bool:
        return all(map(self.allows, self.differences))

    def allows(self, item: Difference) -> bool:
        """Whether that shape is within the tolerance; NaN is not."""
        return Tolerance(self.tolerance, self.least_psnr).allows(item.max_abs, item.psnr)

    def check(self, *, remedy: str = "look for a branch on the input's size, or pass another --opset") -> None:
        """Raise DifferentNumbersError, which ends in `remedy`, unless passed."""
        failed = [item for item in self.differences if not self.allows(item)]
        if failed:
            worst = self.worst if self.worst in failed else min(failed, key=lambda item: item.psnr)
            limits = {"psnr": worst.psnr, "least_psnr": self.least_psnr}
            raise DifferentNumbersError(worst.max_abs, self.tolerance, worst.shape, remedy, **limits)

    def as_json(self) -> dict[str, Any]:
        rows = [item.as_json() for item in self.differences]
        least_psnr = self.least_psnr if math.isfinite(self.least_psnr) else None
        tolerance = self.tolerance if math.isfinite(self.tolerance) else None
        allowed = {"passed": self.passed, "tolerance": tolerance, "least_psnr": least_psnr}
        return {**allowed, "max_abs": self.worst.as_json()["max_abs"], "shapes": rows}


def shapes(channels: int, size_multiple: int) -> dict[str, Shape]:
    """What to compare: every side a multiple S; odd multiples show floored divisions, S x S the padding."""
    s = size_multiple
    high, wide = (max(1, side // s) * s for side in LARGE_SIDES)
    return {
        "minimum": (1, channels, s, s),
        "odd": (1, channels, 13 * s, 17 * s),
        "tall": (1, channels, 41 * s, 3 * s),
        "wide": (1, channels, 3 * s, 41 * s),
        "batch": (3, channels, 7 * s, 5 * s),
        "large": (1, channels, high, wide),
    }


def compare(
    candidate: Infer,
    reference: Infer,
    channels: int,
    size_multiple: int,
    tolerance: float = TOLERANCE,
    *,
    least_psnr: float = -math.inf,
    within: EngineProfile | None = None,
    fill: float | None = None,
) -> Verification:
    """Run both on textured noise, reproducibly, at `shapes`, each moved into the range `within`, if there is one; a network whose
    lost pixels hold `fill` also on such with lost pixels."""
    cases = {label: _moved(shape, within) for label, shape in shapes(channels, size_multiple).items()}
    labels = {shape: label for label, shape in reversed(cases.items())}  # of two at one place, the first
    tried = {labels[shape]: _textures(shape) for shape in dict.fromkeys(cases.values())}
    if fill is not None:
        tried |= {f"{label}, pixels lost": _with_losses(batch, fill) for label, batch in tried.items()}
    rows = tuple(_difference(label, batch, candidate, reference) for label, batch in tried.items())
    return Verification(rows, tolerance, least_psnr)


def _textures(shape: Shape) -> FloatNCHW:
    return np.concatenate([texture(shape[1], shape[2], shape[3], sigma=25, seed=seed) for seed in range(shape[0])])


def _with_losses(batch: FloatNCHW, fill: float) -> FloatNCHW:
    """Each image of `batch` with another share of its pixels lost."""
    return np.concatenate([lossy(batch[[number]], fill, number) for number in range(len(batch))])


def _moved(shape: Shape, within: EngineProfile | None) -> Shape:
    if within is None:
        return shape
    N, C, H, W = (min(max(low, side), high) for low, side, high in zip(within.minimum, shape, within.maximum, strict=True))
    return N, C, H, W


def verify(model: Path, against: Path, *, tolerance: float | None = None, threads: int | None = None) -> Verification:
    """Compare a stamped model, .onnx, .pt2 or .plan, with a checkpoint (a run folder or safetensors) or with another model file.

    A plan runs on the GPU that it is for, at shapes within its range; FP32 in it may be TF32, which has as many bits as FP16.

    tolerance  largest difference; None: what the precision allows that the specs state, 1e-4 for FP32, 1e-2 and 60 dB for FP16
               and for plans, 0.25 and 30 dB for INT8.

    Raises ModelError and its kin for files that cannot be used, and BackendError; a difference beyond the tolerance is no error
    but a report.
    """
    with _candidate(model, threads) as (backend, within), _reference(against, backend.spec, threads) as (infer, precision):
        spec, rounding = backend.spec, () if within is None else (str(Precision.FP16),)
        allowed = allowed_difference(tolerance, spec.precision, precision, *rounding)
        form = (spec.channels, spec.size_multiple, allowed.max_abs)
        return compare(backend.infer, infer, *form, least_psnr=allowed.psnr, within=within, fill=fill_of(spec))


@contextmanager
def _candidate(model: Path, threads: int | None) -> Iterator[tuple[Backend, EngineProfile | None]]:
    """What is judged, opened, and the range of shapes that it takes; None: every one."""
    if model.suffix == PROGRAM_SUFFIX:
        with closing(open_torch_program(model, device="cpu", threads=threads)) as program:
            yield program, None
    elif model.suffix == PLAN_SUFFIX:
        with closing(open_tensorrt(model, threads=threads)) as engine:
            yield engine, _range(engine)
    else:
        with opened(*read_stamped(model), threads=threads) as backend:
            yield backend, None


def _range(engine: Backend) -> EngineProfile:
    facts: Any = engine.report()["engine"]
    smallest, usual, largest = (tuple(facts["profile"][name]) for name in ("min", "opt", "max"))
    return EngineProfile(minimum=smallest, optimum=usual, maximum=largest)


@contextmanager
def _reference(against: Path, spec: ModelSpec, threads: int | None) -> Iterator[tuple[Infer, str]]:
    """What to compare with, and its precision. An .onnx file needs no spec and is opened under the other's."""
    if against.suffix == ".onnx":
        file = read_onnx(against)
        if METADATA_KEY in file.metadata:
            _check_contract(spec, ModelSpec.from_metadata(file.metadata))
        with opened(file.content, spec, threads=threads) as backend:
            yield backend.infer, _precision(file)
    elif against.suffix == PROGRAM_SUFFIX:
        with _candidate(against, threads) as (program, _):
            _check_contract(spec, program.spec)
            yield program.infer, program.spec.precision
    elif against.suffix == PLAN_SUFFIX:
        raise ExportError(f"{against} takes some shapes only", "name the plan first, and --against it what it was made of")
    else:
        checkpoint = load_checkpoint(against)
        _check_contract(spec, checkpoint)
        yield checkpoint.infer, str(Precision.FP32)


def allowed_difference(tolerance: float | None, *precisions: str) -> Tolerance:
    """What was asked for, whatever the PSNR; None: what the coarsest of `precisions` allows."""
    return tolerance_for(*precisions) if tolerance is None else Tolerance(tolerance)


def _precision(file: OnnxFile) -> str:
    """A file without a spec may be compared with too; it counts as FP32."""
    known = METADATA_KEY in file.metadata
    return ModelSpec.from_metadata(file.metadata).precision if known else str(Precision.FP32)


def _check_contract(spec: ModelSpec, other: Checkpoint | ModelSpec) -> None:
    stamped, promised = ({name: getattr(form, name) for name in ("channels", "scale", "size_multiple")} for form in (spec, other))
    if stamped != promised:
        kind = "checkpoint" if isinstance(other, Checkpoint) else "other model"
        raise ExportError(f"the model has {stamped}, the {kind} {promised}", "compare two forms of one network")


def _difference(label: str, batch: FloatNCHW, candidate: Infer, reference: Infer) -> Difference:
    N, C, H, W = batch.shape
    shape = (N, C, H, W)
    got, want = candidate(batch), reference(batch)
    if got.shape != want.shape:
        return Difference(label, shape, math.inf, -math.inf)
    return Difference(label, shape, *difference(got, want))


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
