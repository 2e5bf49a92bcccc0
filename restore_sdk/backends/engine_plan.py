"""A .plan file and the JSON beside it, as `python -m export tensorrt` writes them.

A plan carries code and no description of itself. So its bytes are compared before TensorRT reads one of them: with the digest
that a registry states, else with the one in the JSON. The second shows damage and mixed-up files; it does not stop someone who
can write both. Load only plans you trust.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_sdk.backends.regular_files import regular_bytes
from restore_sdk.backends.wishes import APIS, PLAN_SUFFIX, Api
from restore_sdk.errors import ModelDamagedError, ModelHashError, ModelSpecError
from restore_sdk.spec import ModelSpec

SIDECAR_SUFFIX = ".json"
SCHEMA = 1  # of the JSON beside the plan
KIND = "TensorRT plan"
EXPORT_AGAIN = "export it again with `python -m export tensorrt`"


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan that passed the checks: its bytes, its digest (hexadecimal), and what the JSON beside it says."""

    path: Path
    content: bytes
    sha256: str
    spec: ModelSpec
    api: Api
    version: str  # of the API that built it
    onnx_sha256: str  # of the model it was built from


def sidecar_path(plan: Path) -> Path:
    """m.plan -> m.plan.json."""
    return plan.with_name(f"{plan.name}{SIDECAR_SUFFIX}")


def read_plan(path: Path, *, sha256: str | None = None) -> PlanFile:
    """Read `path` once and check it. Raises ModelDamagedError, ModelHashError if the digest is neither `sha256` nor, where that
    is None, the one beside it, and ModelSpecError."""
    facts = _facts(path)
    build = facts.get("build")
    if not isinstance(build, dict) or build.get("api") not in APIS or not isinstance(facts.get("spec"), dict):
        raise ModelDamagedError(path, f"{sidecar_path(path).name} does not say what it is; {EXPORT_AGAIN}", kind=KIND)
    content = _bytes(path)
    digest = hashlib.sha256(content).hexdigest()
    wanted = sha256 or str(build.get("plan_sha256"))
    if digest != wanted:
        raise ModelHashError(path, digest, wanted, EXPORT_AGAIN)
    spec = ModelSpec.from_json(json.dumps(facts["spec"]), sha256=digest)
    return PlanFile(path, content, digest, spec, build["api"], str(build.get("version")), str(build.get("onnx_sha256")))


def _facts(path: Path) -> Mapping[str, Any]:
    beside = sidecar_path(path)
    try:
        facts = json.loads(regular_bytes(beside))
    except OSError as exc:
        reason = f"{beside.name}, which must lie beside it, cannot be read ({exc.strerror}); {EXPORT_AGAIN}"
        raise ModelDamagedError(path, reason, kind=KIND) from exc
    except (ValueError, RecursionError) as exc:
        raise ModelDamagedError(path, f"{beside.name} is not JSON ({exc}); {EXPORT_AGAIN}", kind=KIND) from exc
    if not isinstance(facts, dict) or not isinstance(facts.get("schema"), int):
        raise ModelDamagedError(path, f"{beside.name} was not written by export; {EXPORT_AGAIN}", kind=KIND)
    if facts["schema"] > SCHEMA:
        reason = f"{beside} has schema {facts['schema']}, this release reads up to {SCHEMA}"
        raise ModelSpecError(reason, "upgrade: pip install -U restore-sdk")
    return facts


def _bytes(path: Path) -> bytes:
    try:
        return regular_bytes(path)
    except OSError as exc:
        reason = f"it cannot be read ({exc.strerror}); pass the path of a readable {PLAN_SUFFIX} file"
        raise ModelDamagedError(path, reason, kind=KIND) from exc
