"""Restorer: an image in, the restored image out, whatever its size and wherever the network runs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import numpy as np
from numpy.typing import NDArray

from restore_sdk import __version__
from restore_sdk.backends.base import Backend
from restore_sdk.backends.wishes import Build, Finite, OnProgress
from restore_sdk.errors import OptionsError, RestorerClosedError
from restore_sdk.host_images import HostImages, Image, Infer, InferMany, Mask, TileCallback, refuse_mask
from restore_sdk.model_opening import open_model
from restore_sdk.options import DEFAULT_QUEUE, ChannelOrder, TileChoice, TileOptions, check_callback, checked_clip, tile_options
from restore_sdk.spec import ModelSpec
from restore_sdk.tiling.plan import TilePlan

if TYPE_CHECKING:
    from restore_sdk.dip.options import DipOptions
    from restore_sdk.dip_frames import FrameFits
    from restore_sdk.image_files import FileReport, MetadataChoice
    from restore_sdk.stream.frames import FrameStream, Policy
    from restore_sdk.stream.reuse import ReusedTiles


class Restorer:
    """One model on one device.

    Any number of threads may call any method of one Restorer at once; the results have the same bits as from one thread.
    close() is safe at any time: calls that run either finish or raise RestorerClosedError.

    model          a bundled name, the path of an .onnx, .pt2 or .plan file, or an opened Backend: it stays yours to close, and
                   what says how a file is opened (backend, device, threads, build, finite, on_progress) does not matter
    backend        "auto": the first that works of TensorRT, ONNX Runtime with CUDA and the CPU, report() says what was passed
                   over and why; or for an .onnx file "tensorrt", "onnxruntime", "openvino", "onnxruntime-tensorrt" or
                   "onnxruntime-rtx"; for a .pt2 file "torch", for a .plan file "tensorrt"
    device         "auto", "cpu", "cuda" or "cuda:N"; report() says what was got, an explicit wish is never replaced in silence
    tile           how large images are cut: "auto" and "exact" (the same bits as the whole image at once; with "torch" the same
                   but for rounding), "fast" (a smaller halo), a core size in pixels, TileOptions, or None (never)
    channel_order  of colour images: "rgb", or "bgr" as OpenCV has them
    clip           limit the result of float images to [0, 1]; integers always end in their own range
    threads        for one operator on the CPU; None: one for each physical core
    build          a TensorRT engine that is not kept yet: "wait" for it, let the next backend serve until it is built in the
                   "background", or "never" build
    finite         values of a TensorRT engine that are NaN or infinite (an overflow of FP16): "raise" BackendError, "fallback" to
                   FP32, or "ignore" them; for arrays on a GPU see docs/backends.md
    on_progress    called with (fraction, what is being done) while an engine builds
    dip            how "dip-denoise", "dip-inpaint", "dip-super-resolve" and "dip-deblur" are fitted to each image (extra [dip]);
                   with these, tile is "auto", the side of a tile or None, and backend, build and finite have nothing to choose

    Raises ModelError, BackendError, OptionsError, MissingExtraError.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Backend = "denoise",
        *,
        backend: str = "auto",
        device: str = "auto",
        tile: TileChoice = "auto",
        channel_order: ChannelOrder = "rgb",
        clip: bool = True,
        threads: int | None = None,
        build: Build = "wait",
        finite: Finite = "raise",
        on_progress: OnProgress | None = None,
        dip: DipOptions | None = None,
    ) -> None:
        if channel_order not in get_args(ChannelOrder):
            raise OptionsError("channel_order", channel_order, "'rgb' or 'bgr'")
        self._tile, self._order, self._clip = tile_options(tile), channel_order, checked_clip(clip)
        wishes = {"tile": tile, "build": build, "finite": finite, "on_progress": on_progress, "dip": dip}
        opened = open_model(model, {"backend": backend, "device": device, "threads": threads}, wishes)
        self._backend: Backend | None = opened.backend
        self._owned, self._dip = opened.owned, opened.fits
        self._spec = opened.backend.spec
        self._host = HostImages(self._spec, self._tile, channel_order, opened.bind)
        self._infer: Infer | None = opened.infer
        self._many: InferMany | None = opened.infer_many
        self._last_plan: TilePlan | None = None

    @property
    def spec(self) -> ModelSpec:
        """What the model promises; there after close() too."""
        return self._spec

    def restore(
        self,
        image: Image,
        mask: NDArray[Any] | None = None,
        *,
        channel_order: ChannelOrder | None = None,
        clip: bool | None = None,
        tile: TileChoice | EllipsisType = ...,
        on_tile: TileCallback | None = None,
        stream: object = None,
    ) -> Image:
        """Restore one image.

        image    (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8 in [0, 255], uint16 in [0, 65535], or float16 or float32,
                 nominally in [0, 1]: noise may leave the range and is not clipped on the way in. Any strides; never written to.
                 Gray is restored as a colour image of equal planes; a fourth channel, alpha, is carried through.
        mask     (H, W), True or 255 where pixels are to be filled; only for models whose spec.inputs has "mask"
        on_tile  called with (tiles done, tiles in all) after each tile

        An image on a GPU (anything with __dlpack__ or __cuda_array_interface__) of these shapes and dtypes stays there: the work
        is queued on `stream`, a handle or an object that has one (None: the image's own), and the result is a DeviceArray, the
        caller's to close, ready for what is queued there next. Its values are not looked at, so NaN is not refused.

        The other arguments stand for the constructor's on this call. Returns a new array of the same dtype and channels,
        (H * scale, W * scale). Raises ImageError, MaskError, OptionsError, TilingError, BackendError, RestorerClosedError.
        """
        usual = tile is ... and mask is None and channel_order is None and clip is None and on_tile is None and stream is None
        if usual and type(image) is np.ndarray and (made := self._host.quickly(image)) is not None:
            self._last_plan = made[1]
            return made[0]
        if self._dip is None:
            refuse_mask(self._spec, mask)
        if on_tile is not None:
            check_callback("on_tile", on_tile, "(tiles done, tiles in all)")
        order, clip = self._order if channel_order is None else channel_order, self._clip if clip is None else checked_clip(clip)
        if type(image) is not np.ndarray:
            from restore_sdk.cuda.arrays import is_device_array  # noqa: PLC0415 not needed for numpy's own arrays

            if is_device_array(image):
                from restore_sdk.device_images import restore_on_device  # noqa: PLC0415

                how: Any = {"options": self._options(tile), "order": order, "clip": clip, "stream": stream, "on_tile": on_tile}
                restored, self._last_plan = restore_on_device(image, self._opened(), self._host.plan, self._host.recovery, **how)
                return restored  # type: ignore[return-value]
        if stream is not None:
            raise OptionsError("stream", stream, "None for an array that is not on a GPU")
        return self._restore(image, mask, order, clip, self._options(tile), on_tile)[0]

    __call__ = restore

    def restore_many(
        self,
        images: Iterable[Image],
        *,
        channel_order: ChannelOrder | None = None,
        clip: bool | None = None,
        tile: TileChoice | EllipsisType = ...,
    ) -> Iterator[Image]:
        """Restore images in their order, each when it is asked for: one input and one result are held at a time. Arguments and
        errors as for restore(); an error ends the iteration."""
        self._opened()
        return (self.restore(image, channel_order=channel_order, clip=clip, tile=tile) for image in images)

    def restore_file(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        metadata: MetadataChoice = "keep",
        quality: int | None = None,
        tile: TileChoice | EllipsisType = ...,
        on_tile: TileCallback | None = None,
        mask: NDArray[Any] | None = None,
    ) -> FileReport:
        """Restore an image file into another, in the format that the target's suffix names.
        overwrite  replace a target that exists, the source itself included. The target is complete or untouched, never half.
        quality    1 to 100 for JPEG, WebP and AVIF, None: 95 (and lossless WebP stays so); the other formats are lossless
        metadata   "keep" EXIF, colour profile and resolution, or "strip" them; the pixels are upright either way

        The other arguments as for restore(). Raises ImageReadError, ImageWriteError, OptionsError, and what restore() raises.
        """
        from restore_sdk.image.huge import is_huge  # noqa: PLC0415 what only files need is loaded here
        from restore_sdk.image_files import restore_image_file  # noqa: PLC0415

        backend, options = self._opened(), self._options(tile)
        check_callback("on_tile", on_tile, "(tiles done, tiles in all)")
        if self._dip is None:
            refuse_mask(self._spec, mask)
        writing: Any = {"overwrite": overwrite, "metadata": metadata, "quality": quality}
        if self._dip is None and is_huge(Path(source), Path(target)):
            from restore_sdk.gigapixel import restore_huge_file  # noqa: PLC0415
            from restore_sdk.gigapixel_cells import network_of  # noqa: PLC0415

            writing |= {"options": options, "clip": self._clip, "on_tile": on_tile}
            report, self._last_plan = restore_huge_file(source, target, network_of(backend, self._host, self._many), **writing)
            return report
        restore = lambda pixels: self._restore(pixels, mask, "rgb", self._clip, options, on_tile)  # noqa: E731
        return restore_image_file(source, target, restore, **writing)

    def stream(
        self,
        frames: Iterable[Image],
        *,
        workers: int = 1,
        queue: int = DEFAULT_QUEUE,
        policy: Policy = "block",
        max_age: float | None = None,
        reuse: bool = False,
    ) -> FrameStream[Image]:
        """Restore `frames` in threads of their own: reading, restoring and what you do with the results overlap.
        Iterate over what is returned, best inside a `with`; its `record` says what became of the frame that came last.

        workers, queue  frames in work at once; frames that wait for a worker, and finished ones that wait for you
        policy   when you are slower than the source: "block" makes the source wait (files), "drop-oldest" drops the frame that
                 has waited longest, "latest-only" keeps the newest alone (cameras)
        max_age  seconds, with a policy that drops: older frames are dropped
        reuse    take over tiles that are the same as in the frame before, to the last value; `record.reused` is their share

        Frames come out in order; what a stage raises ends the stream as a StreamError. Raises OptionsError, RestorerClosedError.
        """
        from restore_sdk.stream.frames import Cancellable, stream_frames  # noqa: PLC0415 what only streams need is loaded here

        inner, tiles = self.in_sequence(workers=workers, reuse=reuse)
        how: Any = {"workers": workers, "queue": queue, "policy": policy, "max_age": max_age}
        cancel = inner.cancel if isinstance(inner, Cancellable) else None
        return stream_frames(inner.restore, frames, reuse=tiles, interrupt=cancel, **how)

    def in_sequence(self, *, workers: int = 1, reuse: bool = False) -> tuple[Restorer | FrameFits, ReusedTiles | None]:
        """What restores the frames of one video: this, or with `reuse` one like it that takes over the tiles that are as in the
        frame before, and what counts them: the `reuse` of stream_frames() and restore_video(). Fits of "dip-..." start from the
        weights of the one before, with one worker and no `reuse`. Both work until this is closed. Raises as stream()."""
        backend = self._opened()
        if self._dip is not None:
            return self._dip.in_sequence(order=self._order, clip=self._clip).in_sequence(workers=workers, reuse=reuse)
        if not reuse:
            return self, None
        from restore_sdk.stream.reuse import ReusedTiles  # noqa: PLC0415 what only streams need is loaded here

        tiles = ReusedTiles(backend)
        return Restorer(tiles, tile=self._tile, channel_order=self._order, clip=self._clip), tiles

    def warm_up(self, shape: tuple[int, int] = (256, 256)) -> None:
        """Run the tiles of an image of `shape`, (height, width) in pixels, once, so that the first real one pays nothing extra.
        Raises OptionsError, TilingError, BackendError, RestorerClosedError."""
        backend = self._opened()
        if self._dip is None:
            backend.warm_up(self._host.shapes(shape, self._tile))

    def report(self) -> dict[str, object]:
        """What really runs, as JSON types: the backend's own report, the SDK's version and settings, and the tile plan of the
        call that finished last, on whichever thread (None before the first)."""
        backend = self._opened()
        return {
            **backend.report(),
            "model": self._spec.name,
            "sha256": self._spec.sha256,
            "sdk": __version__,
            "channel_order": self._order,
            "clip": self._clip,
            "tile": None if self._tile is None or self._dip is not None else dataclasses.asdict(self._tile),
            "recovered": self._host.recovery.report(),
            "last_plan": None if self._last_plan is None else self._last_plan.described(),
        }

    def close(self) -> None:
        """Release the model; a second call does nothing."""
        backend, self._backend, self._infer, self._many = self._backend, None, None, None
        self._host.forget()
        if backend is not None and self._owned:
            backend.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Restorer holds an opened model and is neither copied nor pickled; open one in each process")

    def __enter__(self) -> Restorer:
        self._opened()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _restore(  # noqa: PLR0917 six names, which both callers have at hand
        self, image: Image, mask: Mask, order: ChannelOrder, clip: bool, options: TileOptions | None, on_tile: TileCallback | None
    ) -> tuple[Image, TilePlan]:
        if (infer := self._infer) is None:
            raise RestorerClosedError
        if self._dip is not None:
            made = self._dip.restore(image, mask, order=order, clip=clip, on_tile=on_tile)
            self._last_plan = self._dip.plan(*image.shape[:2])
            return made.image, self._last_plan
        restored, plan = self._host.restore(image, infer, self._many, order=order, clip=clip, options=options, on_tile=on_tile)
        self._last_plan = plan
        return restored, plan

    def _options(self, tile: TileChoice | EllipsisType) -> TileOptions | None:
        if isinstance(tile, EllipsisType):
            return self._tile
        if self._dip is not None:
            raise OptionsError("tile", tile, "nothing here with 'dip-...': the constructor takes the tile of a fit")
        return tile_options(tile)

    def _opened(self) -> Backend:
        if (backend := self._backend) is None:
            raise RestorerClosedError
        return backend
