"""One image file restored into another: read, restored, written whole, with what the file carries."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from restore_sdk.errors import OptionsError
from restore_sdk.host_images import Image
from restore_sdk.image.files import ImageFile, read_image, write_image
from restore_sdk.image.targets import check_holds, check_paths, check_quality
from restore_sdk.tiling.plan import TilePlan

MetadataChoice: TypeAlias = Literal["keep", "strip"]


@dataclass(frozen=True, slots=True)
class FileReport:
    """What restore_file did."""

    source: Path
    target: Path
    width: int  # of the target, pixels
    height: int
    tiles: int
    seconds: float  # reading and writing included
    notices: tuple[str, ...] = ()  # what could not be taken over from the source, in words


def checked_request(
    source: str | os.PathLike[str], target: str | os.PathLike[str], *, metadata: MetadataChoice, quality: int | None
) -> tuple[Path, Path]:
    """The paths as such, of a call whose choices make sense. Raises OptionsError."""
    if metadata not in get_args(MetadataChoice):
        raise OptionsError("metadata", metadata, "'keep' or 'strip'")
    check_quality(quality)
    return Path(source), Path(target)


def restore_image_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    restore: Callable[[Image], tuple[Image, TilePlan]],
    *,
    overwrite: bool,
    metadata: MetadataChoice,
    quality: int | None,
) -> FileReport:
    """Restorer.restore_file with what restores the pixels; what could not be written is refused before they are touched."""
    started = time.perf_counter()
    source, target = checked_request(source, target, metadata=metadata, quality=quality)
    check_paths(source, target, overwrite=overwrite)
    file = read_image(source)
    check_holds(target, file.pixels)
    restored, plan = restore(file.pixels)
    kept = file if metadata == "keep" else ImageFile(file.pixels, lossless=file.lossless)
    notices = write_image(target, dataclasses.replace(kept, pixels=restored), overwrite=overwrite, quality=quality)
    height, width = restored.shape[:2]
    return FileReport(source, target, width, height, plan.count, time.perf_counter() - started, (*file.notices, *notices))
