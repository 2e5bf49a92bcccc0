"""From a checkpoint, or an FP32 ONNX file with a spec, to an INT8 file with its measured loss. Experimental."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from export.calibration import calibration
from export.errors import ExportError
from export.files import check_target, write_whole
from export.halo import FastHalo, calibration_side, check_exact_tiles, find_fast_halo
from export.int8 import Loss, check_loss, losses, quantised, rounded
from export.int8_images import Damage, Int8Images, check_images, int8_images
from export.peak_memory import bytes_per_pixel
from export.produce import STEPS as ONNX_STEPS
from export.produce import Announce, ExportOptions, export_onnx
from export.run_count import counting
from export.runtime import on_disk, opened
from export.stamp import described, fill_of, read_stamped, sha256, stamped
from export.tolerance import INT8, Precision
from export.verify import Verification, allowed_difference, compare
from restore_sdk.backends.base import Backend
from restore_sdk.errors import OptionsError
from restore_sdk.spec import ModelSpec

STEPS = (*ONNX_STEPS[:-1], "quantise", "loss", "INT8 tiles", "INT8 memory", "write")
MOST_LOSS_DB = 1.0


@dataclass(frozen=True, slots=True)
class ExportedInt8:
    """What was written, and what INT8 costs."""

    path: Path
    sha256: str
    size: int  # bytes
    spec: ModelSpec
    verification: Verification  # against the FP32 file
    exact_tile_error: float | None  # None: no finite radius
    losses: tuple[Loss, ...]
    images: str

    @property
    def worst(self) -> Loss:
        """Where it loses most."""
        return max(self.losses, key=lambda loss: loss.db)

    def as_json(self) -> dict[str, Any]:
        return {
            **described(self.path, self.sha256, self.size, self.spec),
            "verification": self.verification.as_json(),
            "exact_tile_error": self.exact_tile_error,
            "int8": _summary(self.losses, self.images),
        }


def export_int8(
    source: Path,
    target: Path,
    options: ExportOptions,
    *,
    most_loss_db: float = MOST_LOSS_DB,
    announce: Announce = lambda step: None,
) -> ExportedInt8:
    """Write `source`, a run folder, its model.safetensors or a stamped FP32 .onnx file, to `target` in INT8.

    options       as for `export_onnx`; `calibration` is required, and `tolerance` is to the FP32 file.
    most_loss_db  largest loss in PSNR against the clean held-out images, at any noise level or share of lost pixels.

    Raises what `export_onnx` raises, Int8LossError, and OptionsError without images; an existing `target` is then left as it was.
    """
    folder = options.calibration
    if folder is None:
        raise OptionsError("calibration", None, "a folder of images like those to be restored, for precision 'int8'")
    options = dataclasses.replace(options, precision=Precision.FP32)  # refuses what INT8 does not take either
    check_target(target, source=source)
    check_images(folder)
    content, spec = _in_fp32(source, options, announce)
    images = int8_images(folder, spec)
    announce("quantise")
    lowered = quantised(content, images.calibrating)
    spec = dataclasses.replace(spec, precision=INT8, sha256="")
    with opened(content, spec, threads=options.threads) as fp32, opened(lowered, spec, threads=options.threads) as int8:
        announce("loss")
        found, verification = _compared(fp32, int8, images, options, most_loss_db)
        announce("INT8 tiles")
        tile_error, fast, measured_on = _tiles(counting(int8, options.on_run), options)
    announce("INT8 memory")
    with on_disk(lowered, spec) as path:
        memory = bytes_per_pixel(path, spec.size_multiple, options.memory_sides, options.on_run)
    spec = _stated(spec, found, images, measured_on)
    spec = dataclasses.replace(spec, fast_halo=fast.halo, fast_error=fast.error, bytes_per_pixel=memory)
    announce("write")
    written = stamped(lowered, spec)
    write_whole(target, written)
    spec = dataclasses.replace(spec, sha256=sha256(written))
    return ExportedInt8(target, spec.sha256, len(written), spec, verification, tile_error, found, images.origin)


def _in_fp32(source: Path, options: ExportOptions, announce: Announce) -> tuple[bytes, ModelSpec]:
    if source.suffix != ".onnx":
        shown: Callable[[str], None] = lambda step: announce(step) if step in STEPS[:-1] else None  # noqa: E731 typed here
        with TemporaryDirectory(prefix="restore-export-") as folder:
            exact = dataclasses.replace(options, tolerance=None)
            return read_stamped(export_onnx(source, Path(folder) / "fp32.onnx", exact, shown).path)
    content, spec = read_stamped(source)
    if spec.precision != Precision.FP32:
        raise ExportError(f"{source} is in {spec.precision}, and only FP32 can be quantised", "pass the FP32 file")
    return content, dataclasses.replace(spec, name=options.name or spec.name, licence=options.licence or spec.licence)


def _compared(
    fp32: Backend, int8: Backend, images: Int8Images, options: ExportOptions, most: float
) -> tuple[tuple[Loss, ...], Verification]:
    found = losses(fp32, int8, images.held_out)
    check_loss(found, most)
    spec, allowed = int8.spec, allowed_difference(options.tolerance, INT8)
    form = (spec.channels, spec.size_multiple, allowed.max_abs)
    verification = compare(int8.infer, fp32.infer, *form, least_psnr=allowed.psnr, fill=fill_of(spec))
    verification.check(remedy="calibrate on images like those to be restored, in the same range")
    return found, verification


def _tiles(int8: Backend, options: ExportOptions) -> tuple[float | None, FastHalo, str]:
    """Error of exact tiles, the fast halo, and what both were measured on."""
    spec = int8.spec
    radius, multiple = spec.receptive_radius, spec.size_multiple
    images = calibration(options.calibration, spec.channels, calibration_side(radius, multiple)).seen_by(fill_of(spec))
    error = None if radius is None else check_exact_tiles(int8, images, radius, multiple)
    return error, find_fast_halo(int8, images, radius, multiple), images.origin


def _stated(spec: ModelSpec, found: tuple[Loss, ...], images: Int8Images, tiles_on: str) -> ModelSpec:
    """The FP32 file's quality is not this one's: the measured loss takes its place. `tiles_on`: images of its tiles."""
    measured_on = images.origin.rpartition("images of ")[2].partition(",")[0]
    quality = tuple(
        {**_measured_at(measured_on, loss.damage), "psnr": rounded(loss.int8), "loss_db": rounded(loss.db)} for loss in found
    )
    source = {**spec.source, "fast_tiles": tiles_on, "int8": json.dumps(_summary(found, images.origin))}
    return dataclasses.replace(spec, quality=quality, source=source)


def _measured_at(images: str, damage: Damage) -> dict[str, Any]:
    """As rows of a spec's quality name what was measured."""
    if damage.lost:
        return {"set": f"{images} remove-pixel p={damage.lost:g}", "sigma": None}
    return {"set": images, "sigma": damage.sigma}


def _summary(found: tuple[Loss, ...], origin: str) -> dict[str, Any]:
    return {"loss_db": rounded(max(loss.db for loss in found)), "images": origin, "levels": [loss.as_json() for loss in found]}
