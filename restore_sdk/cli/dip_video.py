"""`restore video -m dip-...`: what its flags come to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from restore_sdk.cli.dip import mask_of, options_of, wished
from restore_sdk.cli.dip_flags import DipFlags
from restore_sdk.cli.dip_memory import freed_memory_kept
from restore_sdk.cli.flags import Metadata, Settings
from restore_sdk.dip.masks import MaskWarning
from restore_sdk.dip_frames import FrameFits
from restore_sdk.dip_images import DipImages


@contextmanager
def frame_fits(model: str, place: Mapping[str, Any], flags: DipFlags) -> Iterator[FrameFits]:
    """Fits for the frames of one video, with one mask for all. `place`: backend, device, tile and threads.

    Raises UsageError, OptionsError, ImageReadError (of --mask and --kernel), MissingExtraError, DeviceUnavailableError.
    """
    settings = Settings(model=model, metadata=Metadata.KEEP, overwrite=False, compare=None, **place)
    flags.check_used(model)
    images = DipImages(model, wished(options_of(flags), settings), device=settings.device, threads=settings.threads)
    fits = images.in_sequence(mask_of(flags))
    with freed_memory_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskWarning)  # which mask_of has said in the words of the flags
        yield fits
