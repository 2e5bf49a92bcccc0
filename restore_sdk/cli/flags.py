"""Flags that several commands share, and their values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from restore_sdk.options import TileChoice

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of lines.")]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


class Metadata(StrEnum):
    """What becomes of EXIF and ICC."""

    KEEP = "keep"
    STRIP = "strip"


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags of `restore image`, as the SDK takes them."""

    model: str
    backend: str
    device: str
    tile: TileChoice
    threads: int | None
    metadata: Metadata
    overwrite: bool
    compare: Path | None
    quality: int | None = None
