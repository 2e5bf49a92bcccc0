"""One TOML file, `--set key=value` on top, checked by pydantic; every unknown or ill-typed key is named."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError


class ConfigError(ValueError):
    """A configuration that is missing, not TOML, or has unknown or ill-typed keys."""


class Section(BaseModel):
    """A table of the configuration: no unknown key, no change after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TrainerConfig(Section):
    """The loop. Training ends at max_steps or max_seconds, whichever comes first; the cosine schedule follows the larger share.

    accelerator and devices are Lightning's; more than one device trains in as many processes, each on crops of its own.
    """

    max_steps: int = Field(default=1_000_000, ge=1)
    max_seconds: float | None = Field(default=None, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    validate_every: int = Field(default=2000, ge=1)  # steps
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: PositiveInt | Literal["auto"] = "auto"
    threads: int | None = Field(default=None, ge=1, le=1024)  # of the CPU; None: PyTorch's choice
    seed: int = Field(default=0, ge=0, lt=2**32)  # what NumPy takes


class RunConfig(Section):
    """What every method has; methods add their own tables.

    keep_fp32: modules of the network, such as "head" or "body.decode.0", that stay float32 whenever it is exported in FP16.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    run_root: Path = Path("runs")
    licence: str = ""
    keep_fp32: tuple[str, ...] = ()
    trainer: TrainerConfig = TrainerConfig()

    @property
    def folder(self) -> Path:
        """Where everything of the run is written."""
        return self.run_root / self.name


Config = TypeVar("Config", bound=RunConfig)


def read_config(kind: type[Config], path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read and check a configuration. Raises ConfigError."""
    values = read_values(path, overrides)
    try:
        return kind.model_validate(values)
    except ValidationError as exc:
        overridden = [override.partition("=")[0].strip() for override in overrides]
        raise ConfigError("; ".join(_problems(kind, path, overridden, exc))) from exc


def read_values(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The values of a configuration, not checked yet. Raises ConfigError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read {path}: {exc}; pass --config with a TOML file such as configs/denoise.toml") from exc
    except (ValueError, RecursionError) as exc:  # ValueError: also a number of thousands of digits
        raise ConfigError(f"{path} is not TOML: {exc}") from exc
    for override in overrides:
        _override(values, override)
    return values


def to_toml(config: RunConfig) -> str:
    """The resolved configuration as TOML; read_config reads it back to an equal one."""
    values = config.model_dump(mode="json", exclude_none=True)
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    lines = [f"{name} = {_value(value)}" for name, value in values.items() if name not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    # Strings, numbers, booleans and flat lists read the same in TOML, but for surrogate pairs and the delete character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override!r} is not key=value, for example --set trainer.learning_rate=5e-4")
    if len(override.splitlines()) > 1:  # what follows the first line would be read as more keys, or as nothing
        raise ConfigError(f"--set {override!r} has more than one line; pass one --set for each key")
    *tables, last = key.strip().split(".")
    target = values
    for table in tables:
        target = target.setdefault(table, {})
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override!r}: {table!r} is not a table")
    target[last] = _parsed(text.strip())


def _parsed(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text  # a bare word is a string


def _problems(kind: type[RunConfig], path: Path, overridden: Sequence[str], exc: ValidationError) -> list[str]:
    """Each mistake with where it stands: in the file, or in --set. One that takes several keys may be of both."""
    told, keys, last = [], known_keys(kind), ""
    for error in exc.errors():
        loc = ".".join(map(str, error["loc"]))
        place = str(path)
        if any(f"{loc}.".startswith(f"{key}.") for key in overridden):
            place = "--set"
        elif any(f"{key}.".startswith(f"{loc}." if loc else "") for key in overridden):
            place = f"{path} with --set"
        told.append(_problem(error, keys) if place == last else f"{place}: {_problem(error, keys)}")
        last = place
    return told


def _problem(error: Mapping[str, Any], keys: Sequence[str]) -> str:
    key = ".".join(map(str, error["loc"])) or "configuration"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, keys, 1)
        return f"{key}: unknown key" + (f", did you mean {near[0]}?" if near else "")
    told = error["type"] == "missing" or isinstance(error["input"], dict)
    got = "" if told else f", got {error['input']!r}"
    return f"{key}: {error['msg'].removeprefix('Value error, ')}{got}"


def known_keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Every key of a configuration, with its table."""
    keys = []
    for name, field in kind.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            keys += known_keys(section, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys
