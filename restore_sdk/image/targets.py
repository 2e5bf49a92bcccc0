"""Refuses a target that could not be written, before any work is spent on its pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from restore_sdk.errors import ImageWriteError, OptionsError
from restore_sdk.image.atomic import check_target
from restore_sdk.image.writing import SUFFIXES, UnwritableError, fit_pixels


def check_paths(source: Path, target: Path, *, overwrite: bool) -> None:
    """Raise ImageWriteError if `target` is the source itself or exists (unless `overwrite`), or could not be written anyway."""
    if not overwrite and os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        raise ImageWriteError(target, "it is the source itself; name another target or pass overwrite=True")
    check_target(target, overwrite=overwrite)
    if target.suffix.lower() not in SUFFIXES:
        raise ImageWriteError(target, f"unknown suffix {target.suffix!r}; use one of {', '.join(sorted(SUFFIXES))}")


def check_quality(quality: int | None) -> None:
    """Raise OptionsError for anything but None or a whole number from 1 to 100."""
    if quality is not None and (isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100):
        raise OptionsError("quality", quality, "a whole number from 1 to 100, or None")


def check_holds(target: Path, pixels: NDArray[Any]) -> None:
    """Raise ImageWriteError if the format of `target`, whose suffix is known, cannot hold pixels of this dtype and shape."""
    suffix = target.suffix.lower()
    try:
        fit_pixels(pixels, SUFFIXES[suffix], suffix)
    except UnwritableError as exc:
        raise ImageWriteError(target, str(exc)) from exc
