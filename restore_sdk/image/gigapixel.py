"""Images of any size, region by region: how the files are opened. restore_sdk.image.huge says which files these are.

TIFF, BigTIFF and OME-TIFF, Zarr and OME-Zarr are read and written; PNG is read in strips of rows. The other formats have no way
to a part of an image: up to DEFAULT_MAX_PIXELS they are read and written whole, beyond it they are refused.
"""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

from restore_sdk.errors import ImageReadError, ImageWriteError
from restore_sdk.image.atomic import check_target, exists_error
from restore_sdk.image.big_facts import FORMATS_THAT_WORK, BigFacts, BigSource, BigTarget
from restore_sdk.image.big_names import TIFF_SUFFIXES, ZARR_SUFFIX, is_zarr
from restore_sdk.image.big_publishing import unfinished_names
from restore_sdk.image.big_size import check_claim, check_sides, claim_of
from restore_sdk.image.big_tiff_reading import TiffSource
from restore_sdk.image.big_tiff_tags import enlarged
from restore_sdk.image.big_tiff_writing import TiffTarget, kept_compression, needs_big, target_predictor
from restore_sdk.image.big_whole import WholeSource, WholeTarget
from restore_sdk.image.big_zarr import ZarrSource, ZarrTarget
from restore_sdk.image.files import DEFAULT_MAX_PIXELS
from restore_sdk.image.huge import HUGE_PIXELS
from restore_sdk.image.strip_reading import PngSource
from restore_sdk.image.targets import check_paths


def open_source(path: Path) -> BigSource:
    """Open an image for reading in regions; close() it. Raises ImageReadError, MissingExtraError."""
    source = _opened(path)
    try:
        check_sides(path, source.facts.height, source.facts.width)
    except ImageReadError:
        source.close()
        raise
    return source


def _opened(path: Path) -> BigSource:
    if is_zarr(path):
        return ZarrSource(path)
    if os.path.isdir(path):
        raise ImageReadError(path, "it is a directory, and no Zarr image; give the name of a file in it")
    try:
        claim = claim_of(path)
    except ImageReadError:
        raise
    except FileNotFoundError as exc:
        raise ImageReadError(path, "there is no such file; check the path") from exc
    except OSError as exc:
        raise ImageReadError(path, f"{exc.strerror or exc}; check the file and its permissions") from exc
    except (ValueError, struct.error) as exc:
        raise ImageReadError(path, f"its header is damaged or truncated ({exc}); get a whole copy of it") from exc
    check_claim(path, claim)
    name, pixels = claim.format, claim.pixels
    if name == "TIFF":
        return TiffSource(path)
    if name == "PNG" and pixels > HUGE_PIXELS:
        return PngSource(path)
    if pixels > DEFAULT_MAX_PIXELS:
        reason = f"a {name} of {pixels} pixels can only be read whole, and the limit for that is {DEFAULT_MAX_PIXELS}"
        raise ImageReadError(path, f"{reason}; convert it to one of: {FORMATS_THAT_WORK}")
    return WholeSource(path)


def check_big_target(source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse a target that could not be written anyway. Raises ImageWriteError."""
    if target.suffix.lower() != ZARR_SUFFIX:
        check_paths(source, target, overwrite=overwrite)
        return
    if os.path.isdir(target):
        if not is_zarr(target) and os.listdir(target):
            raise ImageWriteError(target, "it is a folder that holds something else than a Zarr image; pick another name")
        if not overwrite:
            raise exists_error(target)
    else:
        check_target(target, overwrite=overwrite)


def check_target_size(target: Path, source: BigFacts, *, scale: int) -> None:
    """Refuse a format that cannot take what becomes of `source`, before anything is planned for it. Raises ImageWriteError."""
    height, width = source.height * scale, source.width * scale
    if target.suffix.lower() not in {ZARR_SUFFIX, *TIFF_SUFFIXES} and height * width > DEFAULT_MAX_PIXELS:
        reason = f"{width}x{height} pixels do not go into a {target.suffix.lower()} file here"
        raise ImageWriteError(target, f"{reason}; end its name in .tif or .zarr")


def open_target(
    path: Path, source: BigFacts, *, scale: int, tile: tuple[int, int], strip: bool, overwrite: bool, quality: int | None
) -> tuple[BigTarget, tuple[str, ...]]:
    """A target for what becomes of `source`, and what it cannot keep, in words; check_target_size() allowed it.

    scale  each pixel becomes scale x scale pixels
    tile   (height, width) of the pieces that it is written in, pixels of the target; multiples of 16 for TIFF
    strip  leave out what the source carries beside its pixels

    Raises ImageWriteError, MissingExtraError.
    """
    metadata, lost = enlarged(source.metadata.stripped() if strip else source.metadata, scale)
    facts = replace(source, height=source.height * scale, width=source.width * scale, tile=tile, metadata=metadata)
    partial, _ = unfinished_names(path)
    suffix = path.suffix.lower()
    if suffix == ZARR_SUFFIX:
        return ZarrTarget(path, partial, facts, scale), lost
    if suffix in TIFF_SUFFIXES:
        compression, changed = kept_compression(source)
        facts = replace(facts, compression=compression, predictor=target_predictor(compression, source))
        facts = replace(facts, big=needs_big(source, facts.height, facts.width))
        return TiffTarget(path, partial, facts, quality=quality), (*lost, *changed)
    return WholeTarget(path, facts, quality=quality, overwrite=overwrite), lost
