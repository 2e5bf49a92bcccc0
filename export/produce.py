"""From a checkpoint to a model file: trace, check, measure, stamp, write. A model that fails a check is not written."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.calibration import calibration, check_folder
from export.checkpoint import Checkpoint, load_checkpoint
from export.files import check_target, write_whole
from export.global_ops import global_ops
from export.halo import FastHalo, calibration_side, check_exact_tiles, find_fast_halo
from export.peak_memory import SIDES, bytes_per_pixel
from export.radius import LARGEST_RADIUS, check_measured, structural_field
from export.runtime import on_disk, opened
from export.stamp import sha256, stamped
from export.to_onnx import DEFAULT_OPSET, serialised, trace
from export.verify import TOLERANCE, Verification, compare
from restore_sdk.backends.base import Backend
from restore_sdk.extras import require
from restore_sdk.spec import ModelSpec

STEPS = ("load", "trace", "verify", "receptive field", "tiles", "memory", "write")
FROM_TRAINING = ("seed", "steps", "seconds")  # fields of the card that go into spec.source

Announce = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """How to export. None or an empty text: what the checkpoint's card says.

    calibration   folder of images for the error of fast tiles; None: synthetic textures.
    memory_sides  sides in pixels of the squares whose peak memory is measured.
    threads       of ONNX Runtime while checking; None: one per core.
    """

    opset: int = DEFAULT_OPSET
    name: str = ""
    licence: str = ""
    calibration: Path | None = None
    tolerance: float = TOLERANCE
    memory_sides: tuple[int, ...] = SIDES
    largest_radius: int = LARGEST_RADIUS
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written and what was measured on the way."""

    path: Path
    sha256: str
    size: int  # bytes
    spec: ModelSpec
    verification: Verification
    measured_radius: int | None  # through ONNX Runtime with the real weights; spec.receptive_radius is the structural one
    exact_tile_error: float | None  # None: no finite radius

    def as_json(self) -> dict[str, Any]:
        spec = dataclasses.asdict(self.spec)
        del spec["sha256"]
        return {
            "model": str(self.path),
            "sha256": self.sha256,
            "size": self.size,
            "spec": spec,
            "verification": self.verification.as_json(),
            "measured_radius": self.measured_radius,
            "exact_tile_error": self.exact_tile_error,
        }


def export_onnx(
    checkpoint: Path, target: Path, options: ExportOptions | None = None, announce: Announce = lambda step: None
) -> Exported:
    """Write the network of `checkpoint`, a run folder or its model.safetensors, to `target` as one stamped ONNX file.

    `announce` is called with each of STEPS as it begins. Raises CheckpointUnusableError, ExportError, DifferentNumbersError
    (all ModelErrors), OutputError and MissingExtraError; an existing `target` is then left as it was.
    """
    options = options or ExportOptions()
    check_target(target)
    check_folder(options.calibration)
    announce("load")
    loaded = load_checkpoint(checkpoint)
    announce("trace")
    graph = trace(loaded.network, loaded.channels, loaded.size_multiple, options.opset)
    promised = _promised(loaded, options, global_ops(graph))
    result = _measured(loaded, serialised(graph), promised, options, announce)
    announce("write")
    write_whole(target, result.content)
    digest = sha256(result.content)
    spec = dataclasses.replace(result.spec, sha256=digest)
    return Exported(
        target, digest, len(result.content), spec, result.verification, result.measured_radius, result.exact_tile_error
    )


@dataclass(frozen=True, slots=True)
class _Result:
    content: bytes
    spec: ModelSpec
    verification: Verification
    measured_radius: int | None
    exact_tile_error: float | None


def _measured(loaded: Checkpoint, content: bytes, promised: ModelSpec, options: ExportOptions, announce: Announce) -> _Result:
    multiple = loaded.size_multiple
    with opened(content, promised, threads=options.threads) as backend:
        announce("verify")
        verification = compare(backend.infer, loaded.infer, loaded.channels, multiple, options.tolerance)
        verification.check()
        announce("receptive field")
        radius, measured = _radius(loaded, backend, options.largest_radius)
        announce("tiles")
        images = calibration(options.calibration, loaded.channels, calibration_side(radius, multiple))
        tile_error = None if radius is None else check_exact_tiles(backend, images, radius, multiple)
        fast = find_fast_halo(backend, images, radius, multiple)
    announce("memory")
    with on_disk(content, promised) as path:
        memory = bytes_per_pixel(path, multiple, options.memory_sides)
    promised = promised if radius is not None else _without_radius(promised, options.largest_radius)
    spec = _completed(promised, radius, fast, memory, images.origin)
    return _Result(stamped(content, spec), spec, verification, measured, tile_error)


def _radius(loaded: Checkpoint, backend: Backend, limit: int) -> tuple[int | None, int | None]:
    """The radius to promise, and the one measured. A graph with an operator that reads everything is promised none, even if
    a probe does not show it."""
    structural = structural_field(loaded, limit=limit)
    measured = check_measured(backend, structural, limit=limit)
    return (None if backend.spec.global_ops else structural.radius), measured.radius


def _promised(loaded: Checkpoint, options: ExportOptions, operators: tuple[str, ...]) -> ModelSpec:
    """What is known before anything is measured."""
    task = loaded.text("task", "denoise")
    return ModelSpec(
        name=options.name or loaded.text("name", task),
        method=loaded.text("method", "unknown"),
        task=task,
        channels=loaded.channels,
        scale=loaded.scale,
        size_multiple=loaded.size_multiple,
        min_size=loaded.size_multiple,
        global_ops=operators,
        trained_on=loaded.text("trained_on"),
        corruption=loaded.text("corruption"),
        licence=options.licence or loaded.text("licence"),
        source=_source(loaded, options.opset),
    )


def _without_radius(promised: ModelSpec, limit: int) -> ModelSpec:
    """Whoever is refused exact tiles is told why, even where no operator is to blame but depth."""
    return dataclasses.replace(promised, global_ops=promised.global_ops or (f"a reach of {limit} px or more",))


def _completed(promised: ModelSpec, radius: int | None, fast: FastHalo, memory: float, calibrated_on: str) -> ModelSpec:
    return dataclasses.replace(
        promised,
        receptive_radius=radius,
        fast_halo=fast.halo,
        fast_error=fast.error,
        bytes_per_pixel=memory,
        source={**promised.source, "fast_tiles": calibrated_on},
    )


def _source(loaded: Checkpoint, opset: int) -> Mapping[str, str]:
    """Where the file comes from; no dates and no paths, so that equal inputs give equal files."""
    source = {"torch": str(require("torch", "export").__version__), "opset": str(opset)}
    source |= {name: loaded.text(name) for name in FROM_TRAINING if name in loaded.card}
    source["network"] = json.dumps(loaded.card["network"], sort_keys=True)
    commit = _commit()
    return {**source, "commit": commit} if commit else source


def _commit() -> str:
    """Commit of this checkout, "-dirty" if it has changes; empty outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, env=environment, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
