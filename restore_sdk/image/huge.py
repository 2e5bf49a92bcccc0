"""Which files are restored region by region, told by their names and headers; the code that does it is not loaded for that."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path

from restore_sdk.image.big_names import OME_ENDINGS, TIFF_SUFFIXES, ZARR_SUFFIX, is_zarr
from restore_sdk.image.big_size import pixels_of
from restore_sdk.image.files import DEFAULT_MAX_PIXELS

HUGE_PIXELS = 100_000_000  # from here on a TIFF, and a PNG that becomes one, goes region by region


def is_huge(source: Path, target: Path) -> bool:
    """Whether a file is to be restored region by region: Zarr, BigTIFF, TIFF to OME-TIFF, and what has too many pixels."""
    if is_zarr(source) or target.suffix.lower() == ZARR_SUFFIX:
        return True
    try:
        name, pixels, big = pixels_of(source)
    except (OSError, ValueError, struct.error):
        return False  # reading it will say what is wrong
    if name == "TIFF" and (big or target.name.lower().endswith(OME_ENDINGS)):
        return True
    in_regions = name == "TIFF" or (name == "PNG" and target.suffix.lower() in TIFF_SUFFIXES)
    return pixels > DEFAULT_MAX_PIXELS or (in_regions and pixels > HUGE_PIXELS and _has_extra())


def _has_extra() -> bool:
    """Whether what reads regions is installed; up to DEFAULT_MAX_PIXELS an image can be restored whole without it."""
    return all(find_spec(module) is not None for module in ("tifffile", "imagecodecs"))
