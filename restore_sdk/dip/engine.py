"""One image from measurement to result: noise, policies, tiles, budgets."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from restore_sdk.dip.choosing import Noise, chosen_stopping, new_policy, noise_of
from restore_sdk.dip.devices import callbacks_errors, dip_device, errors_translated, unaffected, untranslated
from restore_sdk.dip.fit import Fit, FitLimits
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.presets import chosen_preset
from restore_sdk.dip.problem import Problem, operator_of, pose, reach, stacked
from restore_sdk.dip.results import NOTHING_TO_FILL, Cancelled, DipOutcome, FitResult, Planes, ProgressCallback, once
from restore_sdk.dip.stepping import Weights
from restore_sdk.dip.stopping import Policy
from restore_sdk.dip.tiles import Tile, cut_up, merged, scaled, trusted
from restore_sdk.errors import DeviceMemoryError, MaskError, OptionsError
from restore_sdk.options import DipTask

LARGEST_WHOLE = 1_000_000  # pixels of the result; larger images are cut up
TILE = 512  # pixels of the result, side of a tile
LEAST_FADE = 24  # measured pixels


def never() -> bool:
    """Whether to stop: no."""
    return False


@dataclass(frozen=True, slots=True)
class Watch:
    """What the caller wants to hear and to say while a fit runs."""

    on_progress: ProgressCallback | None = None
    cancelled: Cancelled = never
    keep_weights: bool = False


def restore_planes(
    task: DipTask,
    planes: Planes,
    options: DipOptions,
    *,
    known: NDArray[np.bool_] | None = None,
    device: str = "auto",
    watch: Watch | None = None,
    start: Sequence[Weights] | None = None,
) -> DipOutcome:
    """Fit one image.

    planes  (C, h, w) float32, black 0 and white 1, C = 1 or 3; not written to
    known   (h, w) bool, True where a pixel was measured; for "dip-inpaint"
    start   weights of an earlier fit of the same shape and options, one list for each tile
    watch   progress is told after every iteration; once `cancelled` says True, the best so far is the result: of the tiles that
            are fitted first at least one iteration, of those that were not begun what was measured

    Raises OptionsError, MaskError (a tile without a known pixel), DeviceUnavailableError, DeviceMemoryError.
    """
    began = time.perf_counter()
    where = dip_device(device, options.precision, compiled=options.compiled)
    with callbacks_errors(), unaffected(where), errors_translated((planes.shape[1], planes.shape[2])):
        job = _Job(task, planes, options, known=known, device=where, watch=watch or Watch())
        fits = job.run(began, start)
        image, variance = job.assemble([fit.image for fit in fits]), job.assemble([fit.variance for fit in fits])
    return DipOutcome(image, variance, tuple(fits), time.perf_counter() - began, str(job.device), job.sigma)


class _Job:
    """One call of restore_planes."""

    def __init__(
        self,
        task: DipTask,
        planes: Planes,
        options: DipOptions,
        *,
        known: NDArray[np.bool_] | None,
        device: torch.device,
        watch: Watch,
    ) -> None:
        self._task, self.device, self._watch = task, device, watch
        self._cancelled = once(untranslated(watch.cancelled))
        self._options = replace(options, stopping=chosen_stopping(task, options))
        self._preset = chosen_preset(task, options)
        self._planes = torch.from_numpy(np.ascontiguousarray(planes, np.float32))
        self._known = None if known is None else torch.from_numpy(np.ascontiguousarray(known))
        self._reach = reach(operator_of(task, options))
        self._scale = options.scale if task == "dip-super-resolve" else 1
        self._tiles = tiles_of(planes.shape[1], planes.shape[2], task, options)
        self._check_known()
        self._noises: dict[int, Noise] = {}  # of the tiles that were fitted

    def run(self, began: float, start: Sequence[Weights] | None) -> list[FitResult]:
        """Fits of all tiles, in their order."""
        results = {index: self._taken_over(self._tiles[index]) for index in self._idle()}
        waiting = [index for index in range(len(self._tiles)) if index not in results]
        fitted, size = len(waiting), self._options.batch
        while waiting:
            group = waiting[:size]
            try:
                made = self._fit(group, began, start, first=len(waiting) == fitted, left=len(waiting))
            except DeviceMemoryError:
                if len(group) == 1:
                    raise
                size = len(group) // 2
                continue
            results |= dict(zip(group, made, strict=True))
            waiting = waiting[len(group) :]
        return [results[index] for index in range(len(self._tiles))]

    def assemble(self, parts: Sequence[Planes]) -> Planes:
        """The parts of all tiles as one image."""
        if len(parts) == 1:
            return parts[0]
        channels, height, width = self._planes.shape
        shape = channels, height * self._scale, width * self._scale
        tiles = [scaled(tile, self._scale) for tile in self._tiles]
        return merged(shape, tiles, parts, overlap_of(self._task, self._options) * self._scale, self._reach * self._scale)

    def _idle(self) -> list[int]:
        """Tiles in which no pixel is lost, of several."""
        if (known := self._known) is None or len(self._tiles) == 1:
            return []
        return [index for index, tile in enumerate(self._tiles) if known[tile.rows, tile.columns].all()]

    def _taken_over(self, tile: Tile) -> FitResult:
        image = self._planes[:, tile.rows, tile.columns].clamp(0, 1).numpy()
        return FitResult(image, np.zeros_like(image), 0, 0, NOTHING_TO_FILL, "none", 0, 0.0)

    def _fit(self, group: list[int], began: float, start: Sequence[Weights] | None, *, first: bool, left: int) -> list[FitResult]:
        """`left`: how many tiles are not fitted yet, these included; `first`: no other group was."""
        problems = [self._problem(self._tiles[index], index) for index in group]
        seconds = self._seconds(len(group), left, began)
        over = seconds is not None and seconds <= 0
        if not first and (over or self._cancelled()):  # the first group always has a result of its own
            return [first_guess(problem, self._scale) for problem in problems]
        policies = [self._policy(index, problem) for index, problem in zip(group, problems, strict=True)]
        chosen = None if start is None else [start[index] for index in group]
        tile = problems[0].shape[1:]
        with errors_translated((tile[0], tile[1])):
            fit = Fit(
                stacked(problems),
                self._preset,
                self._options,
                policies,
                indices=group,
                device=self.device,
                limits=self._limits(len(self._tiles) - left, seconds),
                start=chosen,
            )
            return fit.run()

    def _limits(self, done: int, seconds: float | None) -> FitLimits:
        watch = self._watch
        tell = None if watch.on_progress is None else untranslated(watch.on_progress)
        return FitLimits(seconds, self._cancelled, tell, done, len(self._tiles), watch.keep_weights)

    def _seconds(self, tiles: int, left: int, began: float) -> float | None:
        """The share of so many of the tiles that are left in what is left of the time."""
        if self._options.max_seconds is None:
            return None
        return (self._options.max_seconds - (time.perf_counter() - began)) * tiles / left

    def _problem(self, tile: Tile, index: int) -> Problem:
        whole = len(self._tiles) == 1
        return pose(
            self._task,
            self._planes[:, tile.rows, tile.columns],
            self._options,
            known=None if self._known is None else self._known[tile.rows, tile.columns],
            trusted=None if whole else torch.from_numpy(trusted(tile, self._reach)),
            index=index,
        )

    def _check_known(self) -> None:
        if (known := self._known) is None:
            return
        for tile in self._tiles:
            if not known[tile.rows, tile.columns].any():
                size, place = f"{tile.height} x {tile.width}", f"row {tile.top}, column {tile.left}"
                raise MaskError(
                    f"nothing is known in the tile of {size} pixels at {place}; pass a larger tile, DipOptions(tile=...)"
                )

    def _policy(self, index: int, problem: Problem) -> Policy:
        """Each tile is held against the noise of its own."""
        if self._options.stopping == "discrepancy" and index not in self._noises:
            self._noises[index] = self._noise(self._tiles[index])
        held_out = bool(problem.held_out.any())
        return new_policy(self._options.stopping, self._options, self._preset, self._noises.get(index), holds_out=held_out)

    def _noise(self, tile: Tile) -> Noise:
        known = None if self._known is None else self._known[None, tile.rows, tile.columns]
        return noise_of(self._task, self._options, self._planes[:, tile.rows, tile.columns], known)

    @property
    def sigma(self) -> float | None:
        """The noise that the fits were held against, root mean square."""
        squares = [noise.sigma**2 for noise in self._noises.values()]
        return math.sqrt(sum(squares) / len(squares)) if squares else None


def first_guess(problem: Problem, scale: int) -> FitResult:
    """What stands in for a tile that was not begun: the measurement, enlarged where that is due, and the mean of the known pixels
    for lost ones."""
    given: Tensor = problem.measured
    if scale > 1:
        given = functional.interpolate(given, scale_factor=scale, mode="bicubic", align_corners=False)
    kept = problem.operator.kept(problem.theta)
    if kept is not None:
        mean = (given * kept).sum((2, 3), keepdim=True) / kept.sum((2, 3), keepdim=True).clamp(min=1)
        given = torch.where(kept, given, mean)
    image = given[0].clamp(0, 1).numpy()
    return FitResult(image, np.ones_like(image), 0, 0, "not started", "none", 0, 0.0)


def tiles_of(height: int, width: int, task: DipTask, options: DipOptions) -> list[Tile]:
    """How an image of `height` x `width` measured pixels is cut up. Raises OptionsError of tiles too small for a kernel."""
    scale, overlap = options.scale if task == "dip-super-resolve" else 1, overlap_of(task, options)
    if options.tile is None and height * width * scale * scale <= LARGEST_WHOLE:
        return cut_up(height, width, max(height, width), 0)
    side = max(TILE // scale, 2 * overlap) if options.tile is None else options.tile
    if side < 2 * overlap and max(height, width) > side:
        kernel = 2 * reach(operator_of(task, options)) + 1
        raise OptionsError("tile", side, f"at least {2 * overlap} pixels, since the kernel is {kernel} wide")
    return cut_up(height, width, side, overlap)


def overlap_of(task: DipTask, options: DipOptions) -> int:
    """What neighbours share, measured pixels: so much that every value is looked at by a tile that has all it depends on, and
    some to spare, over which one tile fades out and the other in."""
    return max(options.overlap, 2 * reach(operator_of(task, options)) + min(options.overlap, LEAST_FADE))
