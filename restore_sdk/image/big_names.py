"""Huge images by their names; loads nothing that reads a pixel."""

from __future__ import annotations

import os
from pathlib import Path

ZARR_SUFFIX, TIFF_SUFFIXES = ".zarr", (".tif", ".tiff")
OME_ENDINGS = (".ome.tif", ".ome.tiff")
_ZARR_MARKERS = ("zarr.json", ".zarray", ".zgroup")


def is_zarr(path: Path) -> bool:
    """Whether `path` is a folder that holds a Zarr array or group."""
    return os.path.isdir(path) and any(os.path.isfile(path / marker) for marker in _ZARR_MARKERS)  # for names too long too
