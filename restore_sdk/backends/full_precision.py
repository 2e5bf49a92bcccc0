"""The models that lie beside one: its full-precision twin, and the ONNX file that a plan was built from."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from restore_sdk.backends.engine_plan import PlanFile
from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.backends.regular_files import regular_bytes
from restore_sdk.errors import ModelError
from restore_sdk.spec import ModelSpec

HALF = re.compile(r"[-_.]?(fp16|half)", re.IGNORECASE)
FULL, SUFFIX = "fp32", ".onnx"
SAME = ("method", "task", "channels", "scale", "inputs", "value_range", "size_multiple")  # of two precisions of one network


def full_precision_beside(path: Path, spec: ModelSpec) -> Path | None:
    """The FP32 twin of the model at `path`, by its name (m.onnx or m_fp32.onnx for m_fp16.onnx or m_fp16.plan) and its spec."""
    if spec.precision == FULL:
        return None
    names = dict.fromkeys((HALF.sub("", path.stem), re.sub("fp16|half", FULL, path.stem, flags=re.IGNORECASE)))
    beside = (path.with_name(f"{name}{SUFFIX}") for name in names if name)
    return next((candidate for candidate in beside if candidate != path and _is_twin(candidate, spec)), None)


def model_of_plan(plan: PlanFile) -> Path | None:
    """The .onnx file beside `plan` that it was built from, by its hash."""
    for candidate in sorted(plan.path.parent.glob(f"*{SUFFIX}")):
        try:
            if hashlib.sha256(regular_bytes(candidate)).hexdigest() == plan.onnx_sha256:
                return candidate
        except OSError:
            continue
    return None


def _is_twin(path: Path, spec: ModelSpec) -> bool:
    try:
        found = ModelSpec.from_metadata(read_onnx(path).metadata)
    except ModelError:
        return False
    return found.precision == FULL and all(getattr(found, name) == getattr(spec, name) for name in SAME)
