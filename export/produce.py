"""From a checkpoint to a model file: trace, check, measure, stamp, write. A model that fails a check is not written."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.calibration import Calibration, calibration, check_folder
from export.checkpoint import Checkpoint, load_checkpoint
from export.errors import ExportError
from export.files import check_target, write_whole
from export.global_ops import global_ops
from export.half_gate import Gate
from export.halo import FastHalo, calibration_side, check_exact_tiles, find_fast_halo
from export.keep_fp32 import KeepChoice, in_half
from export.peak_memory import SIDES, bytes_per_pixel
from export.precision import check_names
from export.radius import LARGEST_RADIUS, check_measured, structural_field
from export.run_count import counting, uncounted
from export.runtime import on_disk, opened
from export.stamp import described, sha256, stamped
from export.to_onnx import DEFAULT_OPSET, serialised, trace
from export.tolerance import Precision
from export.verify import Verification, allowed_difference, compare
from restore_sdk.backends.base import Backend
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.errors import OptionsError
from restore_sdk.extras import require
from restore_sdk.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

STEPS = ("load", "precision", "trace", "verify", "receptive field", "tiles", "memory", "write")
FROM_TRAINING = ("seed", "steps", "seconds")  # fields of the card that go into spec.source

Announce = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """How to export. None or an empty text: what the checkpoint's card says.

    precision     of weights and activations; input and output are float32 in either.
    keep_fp32     modules that stay float32 in FP16, beside those that the card names; "auto": as few as measuring finds.
    calibration   folder of images for the error of fast tiles and for FP16; None: synthetic textures, and for FP16 the examples.
    tolerance     largest difference to PyTorch; None: what the precision allows.
    memory_sides  sides in pixels of the squares whose peak memory is measured.
    threads       of ONNX Runtime while checking; None: one per core.
    on_run        called after each run of the network in the long steps, with how many there were; for whoever waits.
    """

    opset: int = DEFAULT_OPSET
    name: str = ""
    licence: str = ""
    calibration: Path | None = None
    precision: Precision = Precision.FP32
    keep_fp32: KeepChoice = ()
    tolerance: float | None = None
    memory_sides: tuple[int, ...] = SIDES
    largest_radius: int = LARGEST_RADIUS
    threads: int | None = None
    on_run: Callable[[int], None] = uncounted

    def __post_init__(self) -> None:
        if self.keep_fp32 and self.precision is Precision.FP32:
            wanted = "nothing unless the precision is 'fp16'; 'fp32' keeps every layer, 'int8' all but convolutions"
            raise OptionsError("keep_fp32", self.keep_fp32, wanted)


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
    gate: Gate | None = None  # what FP16 costs; None: the file is FP32

    def as_json(self) -> dict[str, Any]:
        return {
            **described(self.path, self.sha256, self.size, self.spec),
            "verification": self.verification.as_json(),
            "measured_radius": self.measured_radius,
            "exact_tile_error": self.exact_tile_error,
            "fp16": None if self.gate is None else self.gate.as_json(),
        }


def export_onnx(
    checkpoint: Path, target: Path, options: ExportOptions | None = None, announce: Announce = lambda step: None
) -> Exported:
    """Write the network of `checkpoint`, a run folder or its model.safetensors, to `target` as one stamped ONNX file.

    `announce` is called with each of STEPS as it begins. Raises CheckpointUnusableError, ExportError, DifferentNumbersError,
    HalfPrecisionError (all ModelErrors), OptionsError, OutputError and MissingExtraError; an existing `target` is then left as
    it was.
    """
    options = options or ExportOptions()
    check_target(target, source=checkpoint)
    check_folder(options.calibration)
    announce("load")
    loaded = load_checkpoint(checkpoint)
    announce("precision")
    network, gate = _lowered(loaded, options)
    announce("trace")
    graph = trace(network, loaded.channels, loaded.size_multiple, options.opset)
    promised = _promised(loaded, options, global_ops(graph), gate)
    result = _measured(loaded, serialised(graph), promised, options, announce)
    announce("write")
    write_whole(target, result.content)
    digest = sha256(result.content)
    spec = dataclasses.replace(result.spec, sha256=digest)
    found = (result.verification, result.measured_radius, result.exact_tile_error)
    return Exported(target, digest, len(result.content), spec, *found, gate)


def _lowered(loaded: Checkpoint, options: ExportOptions) -> tuple[nn.Module, Gate | None]:
    if options.precision is Precision.FP32:
        return loaded.network, None
    network, gate = in_half(loaded, options.keep_fp32, options.calibration, always=_kept_by_method(loaded))
    if gate.keep and not any(weights.dtype.itemsize == 2 for weights in network.state_dict().values()):
        raise OptionsError("keep_fp32", gate.keep, "a layer with weights that is left in FP16; else pass --precision fp32")
    return network, gate


def _kept_by_method(loaded: Checkpoint) -> tuple[str, ...]:
    """Modules that the method's config keeps in float32, whoever exports it."""
    names = loaded.card.get("keep_fp32", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _wrong_card(names, "expected a list of module paths")
    try:
        check_names(loaded.network, names)
    except OptionsError as exc:
        raise _wrong_card(names, f"expected {exc.want}") from exc
    return tuple(names)


def _wrong_card(names: object, wanted: str) -> ExportError:
    return ExportError(f"the checkpoint's card has keep_fp32={names!r}, {wanted}", "write it with `keep_fp32` of the config")


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
        allowed = allowed_difference(options.tolerance, options.precision)
        form = (loaded.channels, multiple, allowed.max_abs)
        verification = compare(backend.infer, loaded.infer, *form, least_psnr=allowed.psnr, fill=loaded.fill)
        verification.check()
        announce("receptive field")
        radius, measured = _radius(loaded, backend, options)
        announce("tiles")
        images = calibration(options.calibration, loaded.channels, calibration_side(radius, multiple)).seen_by(loaded.fill)
        counted = counting(backend, options.on_run)
        tile_error = None if radius is None else _tile_error(loaded, counted, images, radius)
        fast = find_fast_halo(counted, images, radius, multiple)
    announce("memory")
    with on_disk(content, promised) as path:
        memory = bytes_per_pixel(path, multiple, options.memory_sides, options.on_run)
    promised = promised if radius is not None else _without_radius(promised, options.largest_radius)
    spec = _completed(promised, radius, fast, memory, images.origin)
    return _Result(stamped(content, spec), spec, verification, measured, tile_error)


def _radius(loaded: Checkpoint, backend: Backend, options: ExportOptions) -> tuple[int | None, int | None]:
    """The radius to promise, and the one measured. A graph with an operator that reads everything is promised none, even if
    a probe does not show it."""
    limit = options.largest_radius
    structural = structural_field(loaded, limit=limit, on_run=options.on_run)
    measured = check_measured(counting(backend, options.on_run), structural, limit=limit)
    return (None if backend.spec.global_ops else structural.radius), measured.radius


def _tile_error(loaded: Checkpoint, backend: Backend, images: Calibration, radius: int) -> float:
    """FP16's own rounding would hide a faint seam, so the proof that radius and multiple fit is then made in FP32 first."""
    if backend.spec.precision != Precision.FP32:
        exact = dataclasses.replace(backend.spec, precision=str(Precision.FP32))
        check_exact_tiles(FunctionBackend(exact, loaded.infer), images, radius, loaded.size_multiple)
    return check_exact_tiles(backend, images, radius, loaded.size_multiple)


def _promised(loaded: Checkpoint, options: ExportOptions, operators: tuple[str, ...], gate: Gate | None) -> ModelSpec:
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
        precision=str(options.precision),
        trained_on=loaded.text("trained_on"),
        corruption=loaded.text("corruption"),
        licence=options.licence or loaded.text("licence"),
        source={**_source(loaded, options.opset), **_cost(gate)},
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
    network = loaded.card["network"] if loaded.fill is None else {**loaded.card["network"], "fill": loaded.fill}
    source["network"] = json.dumps(network, sort_keys=True)
    commit = _commit()
    return {**source, "commit": commit} if commit else source


def _cost(gate: Gate | None) -> Mapping[str, str]:
    return {} if gate is None else {"fp16": json.dumps(gate.as_json(), sort_keys=True)}


def _commit() -> str:
    """Commit of this checkout, "-dirty" if it has changes; empty outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, env=environment, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
