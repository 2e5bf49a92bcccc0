"""From an ONNX model to a TensorRT plan, and beside it what the plan is: the model's spec, and how it was built."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import OutputError
from export.files import check_target
from export.stamp import sha256
from restore_sdk.backends.engine_build import BuiltEngine, build_engine
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_plan import SCHEMA, sidecar_path
from restore_sdk.backends.engine_profile import EngineProfile, Size, profile_for
from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.backends.wishes import PLAN_SUFFIX, OnProgress
from restore_sdk.spec import ModelSpec
from training.engine.files import replacing


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileSizes:
    """Sizes (height, width) in pixels and the largest batch; None: what `profile_for` chooses."""

    minimum: Size | None = None
    optimum: Size | None = None
    maximum: Size | None = None
    batch: int = 1


@dataclass(frozen=True, slots=True)
class ExportedPlan:
    """A plan that was written."""

    path: Path
    sha256: str
    size: int  # bytes
    onnx_sha256: str
    spec: ModelSpec
    profile: EngineProfile
    options: EngineOptions
    engine: BuiltEngine

    def build_facts(self) -> dict[str, Any]:
        """How the plan came about, in JSON types. Equal inputs on equal machines give equal facts: no dates, no paths."""
        return {
            "api": self.engine.api,
            "version": self.engine.version,
            "profile": self.profile.as_json(),
            "options": self.options.as_json(),
            "tf32": self.engine.tf32,
            "fp16_layers": self.engine.precision.as_json(),
            "warnings": list(self.engine.warnings),
            "plan_sha256": self.sha256,
            "plan_size": self.size,
            "onnx_sha256": self.onnx_sha256,
        }

    def sidecar(self) -> bytes:
        """The JSON that lies beside the plan: {"schema", "spec", "build"}. A plan carries no spec of its own."""
        values = {"schema": SCHEMA, "spec": json.loads(self.spec.to_json()), "build": self.build_facts()}
        return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()

    def as_json(self) -> dict[str, Any]:
        spec = json.loads(self.spec.to_json())
        sidecar = str(sidecar_path(self.path))
        seconds = round(self.engine.seconds, 2)
        return {"plan": str(self.path), "sidecar": sidecar, "seconds": seconds, "spec": spec, "build": self.build_facts()}


def export_plan(
    model: Path, target: Path, options: EngineOptions, sizes: ProfileSizes | None = None, on_progress: OnProgress | None = None
) -> ExportedPlan:
    """Build an engine of `model`, a stamped .onnx file, and write it to `target` (.plan) with its JSON beside it (.plan.json).

    Ctrl-C stops the build at its next step and comes out as KeyboardInterrupt. Raises ModelDamagedError, ModelSpecError,
    OptionsError, OutputError, MissingExtraError, DeviceUnavailableError, EngineBuildError and BackendError. Whatever is raised,
    nothing was written, and an older plan is as it was.
    """
    check_target(target, PLAN_SUFFIX)
    check_target(sidecar_path(target), ".json")
    sizes = sizes or ProfileSizes()
    file = read_onnx(model)
    spec = ModelSpec.from_metadata(file.metadata)
    wanted = {field.name: getattr(sizes, field.name) for field in dataclasses.fields(sizes)}
    profile = profile_for(spec, **wanted)
    engine = build_engine(file.content, spec, profile, options, on_progress=on_progress)
    plan = ExportedPlan(target, sha256(engine.plan), len(engine.plan), file.sha256, spec, profile, options, engine)
    _write_both(plan)
    return plan


def _write_both(plan: ExportedPlan) -> None:
    """Both files whole under temporary names before either gets its own."""
    try:
        with replacing(sidecar_path(plan.path)) as sidecar, replacing(plan.path) as temporary:
            temporary.write_bytes(plan.engine.plan)
            sidecar.write_bytes(plan.sidecar())
    except OSError as exc:
        raise OutputError(plan.path, f"{exc.strerror or exc}; free the space or choose another folder") from exc
