"""Optional dependencies: loaded where they are used, and a missing one names the pip extra that brings it."""

from __future__ import annotations

import importlib
from types import ModuleType

from restore_sdk.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or raise MissingExtraError naming `extra`. One that is installed but broken shows its own error."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):  # a parent: two packages may share a namespace
            raise
        raise MissingExtraError(module, extra) from exc
