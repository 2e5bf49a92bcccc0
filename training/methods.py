"""The table of methods. A new one is a line here and a folder beside this file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.engine.config import ConfigError, RunConfig, read_values
from training.engine.fit import Run
from training.self_supervised.config import SelfSupervisedConfig
from training.self_supervised.run import make_run as make_self_supervised
from training.unir.config import UnirConfig
from training.unir.run import make_run as make_unir


@dataclass(frozen=True, slots=True)
class Method:
    """config: its pydantic model; make_run: from the configuration to a Run; summary: one line for --help."""

    config: type[RunConfig]
    make_run: Callable[[Any], Run]
    summary: str


METHODS: Mapping[str, Method] = {
    "self_supervised": Method(SelfSupervisedConfig, make_self_supervised, "denoisers from one noisy observation of each image"),
    "unir": Method(UnirConfig, make_unir, "restorers from corrupted images alone, by an adversary that compares measurements"),
}


def check_method(name: str, path: Path, overrides: Sequence[str]) -> None:
    """Raise ConfigError if the configuration is plainly for another method: by the tables and keys at its top."""
    keys = read_values(path, overrides).keys()
    others = [other for other in METHODS if other != name and _fits(other, keys)]
    if _fits(name, keys) or not others:
        return
    known = METHODS[name].config.model_fields
    strange = sorted(keys - known.keys())
    why = f"it has {strange[0]!r}" if strange else f"it has no {', '.join(map(repr, sorted(_required(name) - keys)))}"
    raise ConfigError(f"{path}: this configuration is for {others[0]}, not {name} ({why}); run: python -m training {others[0]}")


def _fits(name: str, keys: Set[str]) -> bool:
    return _required(name) <= keys <= METHODS[name].config.model_fields.keys()


def _required(name: str) -> set[str]:
    return {key for key, field in METHODS[name].config.model_fields.items() if field.is_required()}


def with_data(overrides: list[str], folder: Path | None) -> list[str]:
    """Overrides plus those that `--data DIR` stands for: the folder, and no word on the card about the configuration's data."""
    if folder is None:
        return overrides
    path = json.dumps(folder.as_posix(), ensure_ascii=False)
    return [f"data.folders=[{path}]", 'data.description=""', 'data.terms=""', *overrides]
