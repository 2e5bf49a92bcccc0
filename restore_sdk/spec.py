"""ModelSpec: what a model file promises. `export` stamps it into the ONNX metadata; nothing is ever guessed from names."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from restore_sdk.errors import ModelSpecError

METADATA_KEY = "restore_sdk.spec"
SCHEMA = 1
LARGEST_SIDE = 1 << 20  # pixels; the limits keep a hostile file from asking for all the memory there is
LARGEST_VALUE, SMALLEST_RANGE = 65_535, 1e-3  # of value_range


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
        for name, want in _WANTED.items():
            value = getattr(self, name)
            if not want.holds(value):
                raise ModelSpecError(f"the model's spec has {name}={_shortened(value)}, expected {want.words}")

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


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _parsed(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, TypeError, RecursionError) as exc:
        raise ModelSpecError(f"the model's spec is not JSON ({exc})") from exc
    if not isinstance(values, dict):
        raise ModelSpecError(f"the model's spec is a JSON {type(values).__name__}, not an object")
    return values


@dataclass(frozen=True, slots=True)
class _Wanted:
    holds: Callable[[Any], bool]
    words: str


def _integer(least: int, most: int) -> _Wanted:
    return _Wanted(lambda value: _is_integer(value) and least <= value <= most, f"an integer from {least} to {most}")


def _number(least: float, most: float) -> _Wanted:
    return _Wanted(lambda value: _is_number(value) and least <= value <= most, f"a number from {least:g} to {most:g}")


def _or_none(want: _Wanted) -> _Wanted:
    return _Wanted(lambda value: value is None or want.holds(value), f"{want.words}, or null")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _is_range(value: object) -> bool:
    if not isinstance(value, tuple) or len(value) != 2 or not all(map(_is_number, value)):
        return False
    return bool(max(map(abs, value)) <= LARGEST_VALUE and value[1] - value[0] >= SMALLEST_RANGE)


def _is_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(text, str) for text in value)


def _is_text_map(value: object) -> bool:
    return isinstance(value, Mapping) and _is_texts((*value.keys(), *value.values()))


_SIDE = _integer(1, LARGEST_SIDE)
_REACH = _or_none(_integer(0, LARGEST_SIDE))
_TEXT = _Wanted(lambda value: isinstance(value, str), "text")
_WANTED: Mapping[str, _Wanted] = MappingProxyType(
    {
        "channels": _integer(1, 4096),
        "scale": _integer(1, 64),
        "size_multiple": _integer(1, 1024),
        "min_size": _SIDE,
        "schema": _integer(1, SCHEMA),
        "receptive_radius": _REACH,
        "fast_halo": _REACH,
        "fast_error": _or_none(_number(0, 1e9)),
        "bytes_per_pixel": _or_none(_number(1, 1e9)),
        "value_range": _Wanted(_is_range, f"two numbers within {LARGEST_VALUE} of 0, the smaller first"),
        "inputs": _Wanted(lambda value: _is_texts(value) and len(value) > 0, "the names of at least one input"),
        "global_ops": _Wanted(_is_texts, "names of operators"),
        "quality": _Wanted(lambda value: isinstance(value, tuple) and all(isinstance(row, Mapping) for row in value), "objects"),
        "source": _Wanted(_is_text_map, "an object of texts"),
        **dict.fromkeys(
            ("name", "method", "task", "precision", "trained_on", "corruption", "licence", "version", "sha256"), _TEXT
        ),
    }
)
