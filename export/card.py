"""Measured quality, written into a model that exists already; its graph is not touched."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from export.files import check_target, write_whole
from export.stamp import described, read_stamped, sha256, stamped
from restore_sdk.errors import ModelNotFoundError, OptionsError
from restore_sdk.spec import ModelSpec

Row: TypeAlias = Mapping[str, Any]
REGISTRY_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Carded:
    """A model file after its card was written; `spec` as it now stands in the file."""

    path: Path
    sha256: str
    size: int  # bytes
    spec: ModelSpec

    def as_json(self) -> dict[str, Any]:
        return described(self.path, self.sha256, self.size, self.spec)


def write_card(
    model: Path,
    quality: Path | None = None,
    *,
    target: Path | None = None,
    registry: Path | None = None,
    licence: str | None = None,
    trained_on: str | None = None,
) -> Carded:
    """Stamp `quality`, a JSON list of {"set", "sigma", "psnr", "ssim"}, and the texts into `model`; None keeps what it has.

    target    where the result goes; None: `model` itself is replaced.
    registry  a models.json whose entry for that file name gets the new sha256, size, quality, licence and trained_on.

    Everything is read and checked before anything is written. Raises ModelDamagedError, ModelSpecError, OptionsError (a bad
    results file or registry), ModelNotFoundError (the registry has no such entry) and OutputError.
    """
    target = target or model
    check_target(target)
    content, spec = read_stamped(model)
    spec = dataclasses.replace(
        spec,
        quality=spec.quality if quality is None else read_quality(quality),
        licence=spec.licence if licence is None else licence,
        trained_on=spec.trained_on if trained_on is None else trained_on,
    )
    content = stamped(content, spec)
    carded = Carded(target, sha256(content), len(content), dataclasses.replace(spec, sha256=sha256(content)))
    entries = None if registry is None else _updated_registry(registry, carded)
    write_whole(target, content)
    if registry is not None and entries is not None:
        write_whole(registry, entries)
    return carded


def read_quality(path: Path) -> tuple[Row, ...]:
    """Rows of a results file. "sigma" may be null, where the noise is real. Raises OptionsError."""
    rows = _read_json(path, "quality")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise OptionsError("quality", str(path), 'a JSON list of {"set", "sigma", "psnr", "ssim"}')
    for number, row in enumerate(rows):
        _check_row(number, row)
    return tuple(rows)


def _check_row(number: int, row: Row) -> None:
    if not isinstance(row.get("set"), str) or not row["set"]:
        raise OptionsError(f"quality[{number}].set", row.get("set"), "the name of a test set")
    for name in ("sigma", "psnr", "ssim"):
        value = row.get(name)
        absent = value is None and name in row and name != "psnr"
        number_given = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not (absent or number_given):
            raise OptionsError(f"quality[{number}].{name}", value, "a finite number (null where there is none; psnr is required)")


def _updated_registry(registry: Path, carded: Carded) -> bytes:
    values = _read_json(registry, "registry")
    if not isinstance(values, dict) or values.get("schema") != REGISTRY_SCHEMA or not isinstance(values.get("models"), list):
        raise OptionsError("registry", str(registry), f'{{"schema": {REGISTRY_SCHEMA}, "models": [...]}}')
    entries = [entry for entry in values["models"] if isinstance(entry, dict) and entry.get("file") == carded.path.name]
    if len(entries) != 1:
        known = [str(entry.get("file")) for entry in values["models"] if isinstance(entry, dict)]
        raise ModelNotFoundError(carded.path.name, known)
    spec = carded.spec
    entries[0].update(sha256=carded.sha256, size=carded.size, quality=[dict(row) for row in spec.quality])
    entries[0].update({name: text for name, text in (("licence", spec.licence), ("trained_on", spec.trained_on)) if text})
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def _read_json(path: Path, option: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise OptionsError(option, str(path), f"a readable JSON file ({exc.strerror})") from exc
    except (ValueError, RecursionError) as exc:
        raise OptionsError(option, str(path), f"a JSON file ({exc})") from exc
