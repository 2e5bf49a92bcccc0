"""The bundled models by name. Nothing is downloaded: what models.json lists lies beside it in the wheel."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from restore_sdk.errors import ModelDamagedError, ModelHashError, ModelNotFoundError
from restore_sdk.options import DIP_TASKS

FOLDER = Path(__file__).parent
SCHEMA = 1
SUFFIXES = {".onnx", ".pt2", ".plan"}  # of model files; a name that ends in one is meant as a path


@dataclass(frozen=True, kw_only=True, slots=True)
class ZooEntry:
    """One bundled model, as models.json states it."""

    name: str
    file: str  # beside models.json
    sha256: str  # hexadecimal
    size: int  # bytes
    task: str  # "denoise", "inpaint", "super_resolve", "restore"
    method: str  # "self_supervised", ...
    licence: str  # of the weights
    trained_on: str  # data sets and their splits
    terms: str  # what the owners of that data ask
    summary: str  # one line for people
    quality: tuple[Mapping[str, Any], ...] = ()  # measured: {"set", "sigma", "psnr", "ssim"}

    @property
    def path(self) -> Path:
        return FOLDER / self.file


def list_models() -> tuple[ZooEntry, ...]:
    """Every bundled model, in the order of models.json. Raises ModelDamagedError if that file cannot be understood."""
    path = FOLDER / "models.json"
    try:
        listing = json.loads(path.read_text(encoding="utf-8"))
        if listing["schema"] != SCHEMA:
            raise ValueError(f"schema {listing['schema']}, this release reads {SCHEMA}")
        return tuple(_entry(values) for values in listing["models"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise ModelDamagedError(path, f"the list of bundled models is unreadable ({exc}); install restore-sdk again") from exc


def find_model(name_or_path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Path of a model and the sha256 it must have (None for a file of the user's own).

    A bundled name wins over a file of the same name in the working folder; write "./denoise" to mean the file.
    Raises ModelNotFoundError for neither.
    """
    name = os.fspath(name_or_path)
    models = {entry.name: entry for entry in list_models()}
    if isinstance(name_or_path, str) and name in models:
        return models[name].path, models[name].sha256
    path = Path(os.path.expanduser(name))  # unlike Path.expanduser, leaves "~nobody" as it is
    if not name or not os.path.exists(path):  # unlike Path.exists, False for a name that is too long
        raise _not_found(name, tuple(models))
    return path, None


def _not_found(name: str, known: tuple[str, ...]) -> ModelNotFoundError:
    path = Path(name)
    here = "" if path.is_absolute() else " here"
    what = f"there is no file {name}{here}" if path.suffix.lower() in SUFFIXES else None
    return ModelNotFoundError(name, known, what, f", or {', '.join(DIP_TASKS)} (fitted to each image; extra [dip])")


def verify_model(name: str) -> None:
    """Compare a bundled model's bytes with models.json. Raises ModelNotFoundError, ModelDamagedError, ModelHashError."""
    models = {entry.name: entry for entry in list_models()}
    if name not in models:
        raise ModelNotFoundError(name, tuple(models))
    entry = models[name]
    try:
        digest = hashlib.sha256(entry.path.read_bytes()).hexdigest()
    except OSError as exc:
        raise ModelDamagedError(entry.path, f"it cannot be read ({exc.strerror}); install restore-sdk again") from exc
    if digest != entry.sha256:
        raise ModelHashError(entry.path, digest, entry.sha256)


def _entry(values: object) -> ZooEntry:
    """Fields this release does not know are passed over, so that a listing may grow without a new schema."""
    known = {field.name for field in dataclasses.fields(ZooEntry)}
    if not isinstance(values, dict):
        raise TypeError(f"an entry is {values!r}, expected an object")
    kept = {name: value for name, value in values.items() if name in known}
    entry = ZooEntry(**{**kept, "quality": tuple(kept.get("quality", ()))})
    for name, wanted in get_type_hints(ZooEntry).items():
        _check_type(f"{entry.name}: {name}", getattr(entry, name), get_origin(wanted) or wanted)
    for row in entry.quality:
        _check_type(f"{entry.name}: quality", row, Mapping)
    if Path(entry.file).name != entry.file:
        raise ValueError(f"{entry.name}: file {entry.file!r} does not lie beside it")
    return entry


def _check_type(what: str, value: object, wanted: type) -> None:
    if not isinstance(value, wanted):
        raise TypeError(f"{what} is {value!r}, expected {wanted.__name__}")
