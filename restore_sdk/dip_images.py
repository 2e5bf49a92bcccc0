"""Deep Image Prior on image arrays: masks checked, planes made, fitted and put back in the image's own dtype and channels."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from restore_sdk.backends.signature import check_threads
from restore_sdk.dip.masks import checked_mask
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.results import NOTHING_TO_FILL, DipImage
from restore_sdk.dip.wishes import with_wishes
from restore_sdk.dip_frames import FrameFits
from restore_sdk.errors import MaskError, OptionsError
from restore_sdk.extras import require
from restore_sdk.image.layout import FloatNCHW, Layout, inspect, new_output, read_tile, write_tile
from restore_sdk.image.validation import warn_of_scale
from restore_sdk.options import DIP_METHOD, DIP_TASKS, ChannelOrder, DipTask, check_callback, checked_clip, is_dip
from restore_sdk.spec import ModelSpec
from restore_sdk.tiling.plan import Span, TilePlan

if TYPE_CHECKING:
    from restore_sdk.dip.results import Cancelled, DipOutcome, FitProgress, ProgressCallback

Image: TypeAlias = NDArray[Any]
TileCallback: TypeAlias = Callable[[int, int], None]  # (tiles done, tiles in all)

_CALLBACKS = {"on_tile": "(tiles done, tiles in all)", "on_progress": "a FitProgress", "cancelled": "nothing"}
_SPEC_TASKS = {
    "dip-denoise": "denoise",
    "dip-inpaint": "inpaint",
    "dip-super-resolve": "super_resolve",
    "dip-deblur": "restore",
}


class DipImages:
    """Fits a network to each image that it is given. Any number of threads may call it at once; each fit takes its own memory.

    task     "dip-denoise", "dip-inpaint" (needs a mask), "dip-super-resolve" or "dip-deblur" (needs options.kernel)
    device   "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N"
    threads  for the process's PyTorch on the CPU; None: as it is set

    Raises OptionsError, MissingExtraError (torch), DeviceUnavailableError.
    """

    def __init__(self, task: str, options: DipOptions | None = None, *, device: str = "auto", threads: int | None = None) -> None:
        if not is_dip(task):
            raise OptionsError("model", task, f"one of {', '.join(DIP_TASKS)}")
        check_threads(threads)
        torch = require("torch", "dip")
        from restore_sdk.dip.devices import dip_device, load_optimizer  # noqa: PLC0415 loads PyTorch
        from restore_sdk.dip.presets import chosen_preset  # noqa: PLC0415
        from restore_sdk.dip.problem import operator_of  # noqa: PLC0415

        self._task, self._options = cast(DipTask, task), with_wishes(options)
        chosen_preset(self._task, self._options)
        operator_of(self._task, self._options)
        self._device = str(dip_device(device, self._options.precision, compiled=self._options.compiled))
        if threads is not None:
            torch.set_num_threads(threads)
        load_optimizer()
        self._last: dict[str, object] | None = None

    @property
    def scale(self) -> int:
        """Side of the result / side of the image."""
        return self._options.scale if self._task == "dip-super-resolve" else 1

    @property
    def spec(self) -> ModelSpec:
        """The task in the words of a trained model's promise."""
        inputs = ("image", "mask") if self._task == "dip-inpaint" else ("image",)
        return ModelSpec(
            name=self._task,
            method=DIP_METHOD,
            task=_SPEC_TASKS[self._task],
            scale=self.scale,
            inputs=inputs,
            global_ops=("BatchNormalization",),
            trained_on="nothing but the image itself",
        )

    def restore(
        self,
        image: Image,
        mask: NDArray[Any] | None = None,
        *,
        order: ChannelOrder = "rgb",
        clip: bool = True,
        on_tile: TileCallback | None = None,
        on_progress: ProgressCallback | None = None,
        cancelled: Cancelled | None = None,
    ) -> DipImage:
        """Restore one image, as Restorer.restore() takes it.

        mask         (H, W), True or 255 where pixels are to be filled, for "dip-inpaint" alone; the others keep their values.
                     One that marks more than 80 % of them gets a RestoreWarning: it may be of the other polarity
        on_progress  called after each iteration, coarse ones too, with a FitProgress
        cancelled    asked after each iteration; once it says True, the best so far is the result

        The network answers in [0, 1], so values of floats outside come back inside. Raises ImageError, MaskError, OptionsError,
        BackendError.
        """
        return self.fit(image, mask, order=order, clip=clip, watch=(on_tile, on_progress, cancelled))[0]

    def frames(
        self,
        frames: Iterable[Image],
        mask: NDArray[Any] | None = None,
        *,
        order: ChannelOrder = "rgb",
        cancelled: Cancelled | None = None,
    ) -> Iterator[DipImage]:
        """Restore the frames of a video in their order, each from the weights of the one before it: see FrameFits.

        cancelled  asked after each iteration and before each frame but the first; once it says True, the frame in hand is given
                   with its best so far, and is the last. Raises MaskError, OptionsError.
        """
        check_callback("cancelled", cancelled, _CALLBACKS["cancelled"])
        return _until_cancelled(self.in_sequence(mask), frames, order, cancelled)

    def in_sequence(self, mask: NDArray[Any] | None = None, *, order: ChannelOrder = "rgb", clip: bool = True) -> FrameFits:
        """What restores the frames of one video. Raises MaskError."""
        if mask is not None and self._task != "dip-inpaint":
            raise self._no_mask()
        return FrameFits(self, self._options, mask=mask, order=order, clip=clip)

    def plan(self, height: int, width: int) -> TilePlan:
        """The tiles of an image, each up to the middle of what it shares with its neighbour."""
        from restore_sdk.dip.engine import overlap_of, tiles_of  # noqa: PLC0415 loads PyTorch

        tiles = tiles_of(height, width, self._task, self._options)
        rows = sorted({(tile.top, tile.top + tile.height) for tile in tiles})
        columns = sorted({(tile.left, tile.left + tile.width) for tile in tiles})
        return TilePlan(height, width, overlap_of(self._task, self._options) // 2, _spans(rows), _spans(columns))

    def report(self) -> dict[str, object]:
        """What runs, as JSON types, and how the fit that finished last went (None before the first)."""
        options, kernel = dataclasses.asdict(self._options), self._options.kernel
        if kernel is not None and not isinstance(kernel, str):
            digest = hashlib.sha256(np.asarray(kernel).tobytes()).hexdigest()[:16]  # thousands of numbers would hide the rest
            options["kernel"] = f"{len(kernel)} x {len(kernel)} numbers, SHA-256 {digest}"
        return {"backend": "dip", "task": self._task, "device": self._device, "options": options, "last_fit": self._last}

    def infer(self, batch: FloatNCHW, /) -> FloatNCHW:
        """Fit each image of a batch (N, 3, H, W), black 0 and white 1, as a trained model's backend would restore it."""
        if self._task == "dip-inpaint":
            raise MaskError("'dip-inpaint' needs a mask; call restore(image, mask)")
        restored = [self.restore(np.ascontiguousarray(planes.transpose(1, 2, 0))).outcome.image for planes in batch]
        return np.stack(restored)

    def warm_up(self, shapes: object) -> None:
        """Nothing: every image is a new network."""

    def close(self) -> None:
        """Nothing is held between images."""

    def fit(
        self,
        image: Image,
        mask: NDArray[Any] | None = None,
        *,
        order: ChannelOrder,
        clip: bool,
        watch: tuple[TileCallback | None, ProgressCallback | None, Cancelled | None],
        options: DipOptions | None = None,
        start: list[Any] | None = None,
        keep: bool = False,
    ) -> tuple[DipImage, list[Any] | None]:
        """restore() from the weights `start`, with other options; with `keep` also the weights of the result, one list for each
        tile. watch: on_tile, on_progress, cancelled."""
        from restore_sdk.dip.engine import Watch, never, restore_planes  # noqa: PLC0415 loads PyTorch

        checked_clip(clip)
        for name, callback, arguments in zip(_CALLBACKS, watch, _CALLBACKS.values(), strict=True):
            check_callback(name, callback, arguments)
        told = _Told(watch[0], watch[1])
        layout = inspect(image, order=order)
        if clip and image.dtype.kind == "f":
            warn_of_scale(image)
        fill = self._fill(mask, layout)
        planes = read_tile(image, layout, slice(0, layout.height), slice(0, layout.width), channels=1 if layout.is_gray else 3)
        outcome = restore_planes(
            self._task,
            planes[0],
            options or self._options,
            known=None if fill is None else ~fill,
            device=self._device,
            watch=Watch(None if watch[:2] == (None, None) else told, watch[2] or never, keep),
            start=start,
        )
        self._last = outcome.report()  # not the outcome, whose planes may be large
        told.tiles(len(outcome.fits), len(outcome.fits))
        weights = [fit.weights for fit in outcome.fits]
        whole = keep and all(fit.weights or fit.stop_reason == NOTHING_TO_FILL for fit in outcome.fits)
        return self._finished(image, layout, outcome, fill, clip), weights if whole else None

    def _fill(self, mask: NDArray[Any] | None, layout: Layout) -> NDArray[np.bool_] | None:
        if self._task == "dip-inpaint":
            return checked_mask(mask, (layout.height, layout.width))
        if mask is not None:
            raise self._no_mask()
        return None

    def _no_mask(self) -> MaskError:
        return MaskError(f"{self._task!r} takes no mask; leave it out, or use 'dip-inpaint'")

    def _finished(
        self, image: Image, layout: Layout, outcome: DipOutcome, fill: NDArray[np.bool_] | None, clip: bool
    ) -> DipImage:
        restored = new_output(image, layout, scale=self.scale)
        rows, columns = slice(0, layout.height), slice(0, layout.width)
        planes: FloatNCHW = outcome.image[np.newaxis]
        write_tile(restored, layout, rows, columns, planes, scale=self.scale, clip=clip)
        if fill is not None:
            restored[~fill] = np.clip(image[~fill], 0, 1) if clip and image.dtype.kind == "f" else image[~fill]
        return DipImage(restored, np.sqrt(outcome.variance.mean(0)), outcome)


class _Told:
    """Passes progress on, and each tile that is done."""

    def __init__(self, on_tile: TileCallback | None, on_progress: ProgressCallback | None) -> None:
        self._on_tile, self._on_progress, self._done = on_tile, on_progress, 0

    def __call__(self, progress: FitProgress) -> None:
        if self._on_progress is not None:
            self._on_progress(progress)
        self.tiles(progress.done, progress.tiles)

    def tiles(self, done: int, total: int) -> None:
        """`done` of `total` tiles are done, which is said once."""
        if self._on_tile is not None and done != self._done:
            self._done = done
            self._on_tile(done, total)


def _until_cancelled(
    fits: FrameFits, frames: Iterable[Image], order: ChannelOrder, cancelled: Cancelled | None
) -> Iterator[DipImage]:
    for frame in frames:
        yield fits.fitted(frame, order=order, cancelled=cancelled)
        if cancelled is not None and cancelled():
            return


def _spans(outer: list[tuple[int, int]]) -> tuple[Span, ...]:
    inner = [math.floor((left[1] + right[0]) / 2) for left, right in pairwise(outer)]
    edges = [outer[0][0], *inner, outer[-1][1]]
    return tuple(Span(edges[n], edges[n + 1], *span) for n, span in enumerate(outer))
