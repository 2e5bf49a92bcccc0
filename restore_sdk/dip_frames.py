"""The frames of a video by Deep Image Prior: each fit starts from the weights of the one before it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import OptionsError, RestorerClosedError
from restore_sdk.image.layout import inspect, read_tile
from restore_sdk.options import ChannelOrder

if TYPE_CHECKING:
    from restore_sdk.dip.options import DipOptions
    from restore_sdk.dip.results import Cancelled, DipImage
    from restore_sdk.spec import ModelSpec

Image: TypeAlias = NDArray[Any]

SCENE_SIDE = 32  # pixels of the thumbnail that scenes are told apart by
SCENE_CHANGE = 0.12  # mean difference of two thumbnails, white = 1


class Fits(Protocol):
    """What DipImages does for each frame."""

    @property
    def spec(self) -> ModelSpec:
        """The task."""
        ...

    @property
    def fit(self) -> Callable[..., tuple[DipImage, list[Any] | None]]:
        """DipImages.fit()."""
        ...

    def report(self) -> Mapping[str, object]:
        """What runs."""
        ...


class FrameFits:
    """Restores the frames of one video, in their order and on one thread at a time.

    A frame starts from the weights of the one before it and takes at most options.warm iterations; one of another size, or of
    another scene, starts anew. `mask`, for "dip-inpaint", is that of all frames: (H, W), True or 255 where they are to be filled.
    `order` and `clip` are what restore() falls back to.
    """

    def __init__(
        self,
        fits: Fits,
        options: DipOptions,
        *,
        mask: NDArray[Any] | None = None,
        order: ChannelOrder = "rgb",
        clip: bool = True,
    ) -> None:
        budget = min(options.warm, options.max_iterations or options.warm)
        self._fits, self._first = fits, options
        self._warm = dataclasses.replace(options, max_iterations=budget, coarse=0)
        self._mask, self._order, self._clip = mask, order, clip
        self._weights: list[Any] | None = None
        self._before: NDArray[np.float32] | None = None
        self._shape: tuple[int, ...] = ()
        self._cancelled = False

    @property
    def spec(self) -> ModelSpec:
        """That of the fits."""
        return self._fits.spec

    def report(self) -> Mapping[str, object]:
        """What runs, as DipImages.report(), and a digest of the mask."""
        mask = None if self._mask is None else hashlib.sha256(np.packbits(np.asarray(self._mask) != 0).tobytes()).hexdigest()
        return {**self._fits.report(), "mask": mask}

    def restore(self, frame: Image, *, channel_order: ChannelOrder | None = None, clip: bool | None = None) -> Image:
        """The next frame, as Restorer.restore() takes and gives one. Raises what DipImages.restore() raises."""
        return self.fitted(frame, order=channel_order or self._order, clip=self._clip if clip is None else clip).image

    def fitted(
        self, frame: Image, *, order: ChannelOrder = "rgb", clip: bool = True, cancelled: Cancelled | None = None
    ) -> DipImage:
        """The same with all that is known of the fit."""
        if self._cancelled:
            raise RestorerClosedError
        here, told = thumbnail(frame), cancelled or (lambda: False)
        if self._before is None or self._shape != frame.shape or scene_changed(self._before, here):
            self._weights = None
        made, self._weights = self._fits.fit(
            frame,
            self._mask,
            order=order,
            clip=clip,
            watch=(None, None, lambda: self._cancelled or told()),
            options=self._first if self._weights is None else self._warm,
            start=self._weights,
            keep=True,
        )
        self._before, self._shape = here, frame.shape
        return made

    def in_sequence(self, *, workers: int = 1, reuse: bool = False) -> tuple[FrameFits, None]:
        """The same for another video, from the beginning, as Restorer.in_sequence(). Raises OptionsError."""
        if reuse:
            raise OptionsError("reuse", reuse, "False with 'dip-...', whose tiles are fits of their own")
        if workers != 1:
            raise OptionsError("workers", workers, "1 with 'dip-...': a frame starts from the weights of the one before it")
        return FrameFits(self._fits, self._first, mask=self._mask, order=self._order, clip=self._clip), None

    def cancel(self) -> None:
        """End the fit that runs, from any thread: its best so far is the frame. There are no later frames: in_sequence() begins
        anew."""
        self._cancelled = True


def thumbnail(image: Image) -> NDArray[np.float32]:
    """Gray (SCENE_SIDE, SCENE_SIDE) means of an image, white = 1."""
    layout = inspect(image)
    planes = read_tile(image, layout, slice(0, layout.height), slice(0, layout.width), channels=1 if layout.is_gray else 3)
    small = cv2.resize(planes[0].mean(0), (SCENE_SIDE, SCENE_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def scene_changed(before: NDArray[np.float32], here: NDArray[np.float32]) -> bool:
    """Whether two thumbnails show different scenes."""
    return float(np.abs(before - here).mean()) > SCENE_CHANGE
