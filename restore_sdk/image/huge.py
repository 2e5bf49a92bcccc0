"""Which files are restored region by region, told by their names and headers; the code that does it is not loaded for that."""

from __future__ import annotations

import mmap
import struct
from importlib.util import find_spec
from pathlib import Path

from restore_sdk.image.big_names import OME_ENDINGS, TIFF_SUFFIXES, ZARR_SUFFIX, is_zarr
from restore_sdk.image.big_size import check_claim, claim_of
from restore_sdk.image.files import DEFAULT_MAX_PIXELS
from restore_sdk.image.header import UnreadableError
from restore_sdk.image.tiff_header import read_tiff_header
from restore_sdk.image.tiff_tags import TiffDamagedError

HUGE_PIXELS = 100_000_000  # from here on a TIFF, and a PNG that becomes one, goes region by region


def is_huge(source: Path, target: Path) -> bool:
    """Whether a file is to be restored region by region: Zarr, BigTIFF, TIFF to OME-TIFF, and what has too many pixels.

    Without the extra that reads regions, what can be read whole is; for the rest, opening it names the extra.
    Raises ImageReadError where the header claims more pixels than the file can have.
    """
    if is_zarr(source) or target.suffix.lower() == ZARR_SUFFIX:
        return True
    try:
        claim = claim_of(source)
    except (OSError, ValueError, struct.error):
        return False  # reading it will say what is wrong
    check_claim(source, claim)
    name, pixels, big = claim.format, claim.pixels, claim.big
    if name == "TIFF" and (target.name.lower().endswith(OME_ENDINGS) or (big and (_has_extra() or not _is_plain(source)))):
        return True
    in_regions = name == "TIFF" or (name == "PNG" and target.suffix.lower() in TIFF_SUFFIXES)
    return pixels > DEFAULT_MAX_PIXELS or (in_regions and pixels > HUGE_PIXELS and _has_extra())


def _is_plain(source: Path) -> bool:
    """Whether a TIFF is of a kind that is read whole, by its header."""
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        try:
            read_tiff_header(view)
        except (UnreadableError, TiffDamagedError):
            return False
        return True


def _has_extra() -> bool:
    """Whether what reads regions is installed; up to DEFAULT_MAX_PIXELS an image can be restored whole without it."""
    return all(find_spec(module) is not None for module in ("tifffile", "imagecodecs"))
