"""ModelSpec: what a model file promises. `export` stamps it into the ONNX metadata; nothing is ever guessed from names."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from restore_sdk.errors import ModelSpecError

METADATA_KEY = "restore_sdk.spec"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """Promise of one exported network. Lengths in pixels of the input."""

    name: str
    method: str  # "self_supervised", "unir", "lir", "gan_inpainting", "vae", ...
    task: str  # "denoise", "inpaint", "super_resolve", "restore"
    channels: int = 3
    scale: int = 1  # output side / input side
    inputs: tuple[str, ...] = ("image",)  # "image", "mask", "epsilon"
    value_range: tuple[float, float] = (0.0, 1.0)
    size_multiple: int = 1  # S: height and width given to the network divide by it
    receptive_radius: int | None = None  # R: how far an input pixel reaches; None: the whole image
    global_ops: tuple[str, ...] = ()  # operators that read the whole image
    min_size: int = 1  # shortest side that restores sensibly
    precision: str = "fp32"
    fast_halo: int | None = None  # halo of "fast" tiles
    fast_error: float | None = None  # its largest measured difference to the whole image, in units of value_range
    bytes_per_pixel: float | None = None  # k: peak activation memory on the CPU per pixel of the largest tile
    trained_on: str = ""
    corruption: str = ""
    quality: tuple[Mapping[str, Any], ...] = ()  # measured: {"set", "sigma", "psnr", "ssim"}
    licence: str = ""
    source: Mapping[str, str] = field(default_factory=dict)  # git commit, torch version
    version: str = "1"
    schema: int = SCHEMA
    sha256: str = ""  # of the file it was read from; never written

    def __post_init__(self) -> None:
        for name in ("channels", "scale", "size_multiple", "min_size", "schema"):
            _check(isinstance(getattr(self, name), int) and getattr(self, name) >= 1, name, getattr(self, name))
        for name in ("receptive_radius", "fast_halo"):
            value = getattr(self, name)
            _check(value is None or (isinstance(value, int) and value >= 0), name, value)

    def to_json(self) -> str:
        """Compact JSON of every field but `sha256`, keys sorted, so equal specs give equal bytes."""
        values = dataclasses.asdict(self)
        del values["sha256"]
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, *, sha256: str = "") -> ModelSpec:
        """Read `to_json`'s text. Raises ModelSpecError for anything else, and for a schema newer than this release reads."""
        values = _parsed(text)
        schema = values.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise ModelSpecError(
                f"the model has spec schema {schema}, this release reads up to {SCHEMA}", "upgrade: pip install -U restore-sdk"
            )
        for name in ("inputs", "value_range", "global_ops", "quality"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        try:
            return cls(**{**values, "sha256": sha256})
        except TypeError as exc:
            raise ModelSpecError(f"the model's spec has missing or unknown fields ({exc})") from exc

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, sha256: str = "") -> ModelSpec:
        """Read the spec from an ONNX file's metadata map. Raises ModelSpecError."""
        if METADATA_KEY not in metadata:
            raise ModelSpecError(f"the ONNX file has no metadata key {METADATA_KEY!r}")
        return cls.from_json(metadata[METADATA_KEY], sha256=sha256)


def _check(holds: bool, name: str, value: object) -> None:
    if not holds:
        raise ModelSpecError(f"the model's spec has {name}={value!r}, which is out of range")


def _parsed(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as exc:
        raise ModelSpecError(f"the model's spec is not JSON ({exc})") from exc
    if not isinstance(values, dict):
        raise ModelSpecError(f"the model's spec is a JSON {type(values).__name__}, not an object")
    return values
