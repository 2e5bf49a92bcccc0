"""Flags that several commands share, and their values."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from restore_sdk.cli.exit_codes import UsageError
from restore_sdk.options import TileChoice

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of lines.")]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


class Metadata(StrEnum):
    """What becomes of EXIF and ICC."""

    KEEP = "keep"
    STRIP = "strip"


class Building(StrEnum):
    """What becomes of a TensorRT engine that is not kept yet."""

    WAIT = "wait"
    BACKGROUND = "background"
    NEVER = "never"


class FinitePolicy(StrEnum):
    """What becomes of NaN and infinity from a TensorRT engine."""

    RAISE = "raise"
    FALLBACK = "fallback"
    IGNORE = "ignore"


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
    build: Building = Building.WAIT
    finite: FinitePolicy = FinitePolicy.RAISE


def check_picture(flag: str, path: Path, others: Iterable[Path], *, overwrite: bool) -> None:
    """Raise UsageError if the picture that `flag` asks for could not be written to `path`, or would replace one of `others`."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"{flag} {path} is no .png file; end its name in .png")
    if os.path.isdir(path):
        raise UsageError(f"{flag} {path} is a directory; give the name of a .png file in it")
    if os.path.realpath(path) in map(os.path.realpath, others):
        raise UsageError(f"{flag} {path} is an input or the target itself; name another file")
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists; pass --overwrite to replace it, or another {flag}")
