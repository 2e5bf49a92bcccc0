"""The loop: it fits several images at once, each with its own stop, and gives back the best of each whenever it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_sdk.dip.averaging import IterateMean
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.presets import Preset
from restore_sdk.dip.problem import Problem
from restore_sdk.dip.results import Cancelled, FitProgress, FitResult, Planes, Point, ProgressCallback
from restore_sdk.dip.snapshots import Guard
from restore_sdk.dip.stepping import Stepper, Weights, arithmetic
from restore_sdk.dip.stopping import Observation, Policy

STRIP_AT = (10, 30, 100, 300, 1000, 3000, 10_000)  # iterations whose means are kept for the trace


@dataclass(frozen=True, slots=True)
class FitLimits:
    """When to stop whatever the policy says, and who wants to know. `seconds` counts from the start of the fit."""

    seconds: float | None
    cancelled: Cancelled
    on_progress: ProgressCallback | None
    done: int = 0  # tiles finished before this group, for the progress
    tiles: int = 1
    keep_weights: bool = False


@dataclass(slots=True)
class _Track:
    """One image on its way."""

    index: int
    policy: Policy
    points: list[Point] = field(default_factory=list)
    strip: list[tuple[int, NDArray[np.uint8]]] = field(default_factory=list)
    best: tuple[Tensor, Tensor] | None = None
    best_iteration: int = 0
    weights: Weights | None = None
    stop_reason: str = ""
    rollbacks: int = 0
    seconds: float = 0.0

    def result(self) -> FitResult:
        image, variance = self.best or (torch.zeros(0), torch.zeros(0))
        return FitResult(
            image=image.nan_to_num(0.5).cpu().numpy(),
            variance=variance.nan_to_num(1.0).cpu().numpy(),
            iterations=self.points[-1].iteration if self.points else 0,
            best_iteration=self.best_iteration,
            stop_reason=self.stop_reason,
            policy=self.policy.name,
            rollbacks=self.rollbacks,
            seconds=self.seconds,
            trajectory=tuple(self.points),
            strip=tuple(self.strip),
            weights=self.weights,
        )


class Fit:
    """Fits all images of a problem. One of `policies` and of `indices` (tile numbers, which decide about randomness) for each."""

    def __init__(
        self,
        problem: Problem,
        preset: Preset,
        options: DipOptions,
        policies: Sequence[Policy],
        *,
        indices: Sequence[int],
        device: torch.device,
        limits: FitLimits,
        start: Sequence[Weights] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock, self._began = clock, clock()
        self._options, self._limits, self._device = options, limits, device
        self._budget = preset.iterations
        self._stepper = Stepper(problem, preset, options, indices, device=device, start=start)
        self._tracks = [_Track(index, policy) for index, policy in zip(indices, policies, strict=True)]
        self._running = list(self._tracks)  # one for each copy of the network
        self._guard = Guard(len(self._tracks))
        self._mean = IterateMean(options.smoothing)

    def run(self) -> list[FitResult]:
        """To the end: every image has stopped, a budget is used up, or it was cancelled. At least one iteration is made."""
        self._begin_coarse()
        for iteration in range(1, self._budget + 1):
            self._iterate(iteration)
            if self._settle(iteration):
                break
        return [track.result() for track in self._tracks]

    def _begin_coarse(self) -> None:
        for _ in range(self._options.coarse):
            made, losses, good = self._step(coarse=True)
            self._mean.update(made, torch.tensor(good, device=self._device))
            self._tell(0, losses, self._clock() - self._began)
            if self._interruption():
                break
        self._guard, self._mean = Guard(len(self._running)), IterateMean(self._options.smoothing)  # the finer loss is another one

    def _step(self, *, coarse: bool = False) -> tuple[Tensor, list[float], list[bool]]:
        with arithmetic(self._device, self._options.precision):  # no longer: others may wait for the process's switches
            made, losses = self._stepper.step(coarse=coarse)
        values = losses.tolist()
        stopped = [bool(track.stop_reason) for track in self._running]
        good = [fine or over for fine, over in zip(self._guard.check(values), stopped, strict=True)]
        if self._guard.note(values, good, self._stepper.current()):
            self._stepper.slow_down()
        return made, values, good

    def _iterate(self, iteration: int) -> None:
        made, losses, good = self._step()
        self._mean.update(made, torch.tensor(good, device=self._device))
        held_out = self._held_out()
        seconds = self._clock() - self._began
        for image, track in enumerate(self._running):
            if track.stop_reason:
                continue
            track.rollbacks, track.seconds = self._guard.rollbacks[image], seconds
            if good[image]:
                seen = Observation(iteration, made[image], self._mean.mean[image], losses[image], held_out[image])
                self._look(track, seen, image)
            elif self._guard.is_lost(image):
                track.stop_reason = "diverged"
        self._tell(iteration, losses, seconds)

    def _look(self, track: _Track, seen: Observation, image: int) -> None:
        verdict = track.policy.update(seen)
        track.points.append(Point(seen.iteration, seen.loss, verdict.score, seen.held_out, track.seconds))
        if verdict.is_best or track.best is None:
            track.best = seen.smoothed.clone(), self._mean.variance[image].clone()
            track.best_iteration = seen.iteration
            if self._limits.keep_weights:
                track.weights = self._stepper.weights(image)
        if seen.iteration in STRIP_AT:
            track.strip.append((seen.iteration, as_bytes(seen.smoothed)))
        if verdict.stop:
            track.stop_reason = track.policy.name

    def _held_out(self) -> list[float]:
        problem = self._stepper.problem
        if not bool(problem.held_out.any()):
            return [0.0] * len(self._running)
        with torch.no_grad():
            return list(problem.residuals(self._mean.mean)[1].tolist())

    def _settle(self, iteration: int) -> bool:
        """End what has to end; True when nothing runs any more. Makes room once half of the images have stopped."""
        reason = self._interruption() or ("max_iterations" if iteration == self._budget else "")
        for image, track in enumerate(self._running):
            track.stop_reason = track.stop_reason or reason
            if track.stop_reason and track.best is None:
                track.best = self._mean.mean[image], self._mean.variance[image]
        left = [image for image, track in enumerate(self._running) if not track.stop_reason]
        if left and 2 * len(left) <= len(self._running):
            copies, self._running = len(self._running), [self._running[image] for image in left]
            self._guard.keep(left, copies)
            self._stepper.keep(left)
            self._mean.keep(left)
        return not left

    def _interruption(self) -> str:
        if self._limits.cancelled():
            return "cancelled"
        limit = self._limits.seconds
        return "max_seconds" if limit is not None and self._clock() - self._began >= limit else ""

    def _tell(self, iteration: int, losses: Sequence[float], seconds: float) -> None:
        if self._limits.on_progress is None:
            return
        active = [(losses[image], track) for image, track in enumerate(self._running) if not track.stop_reason]
        loss, track = max(active, key=lambda pair: pair[0]) if active else (losses[0], self._running[0])
        score = track.points[-1].score if track.points else None
        done = self._limits.done + len(self._tracks) - len(active)
        told = FitProgress(iteration, self._budget, loss, score, seconds, done, self._limits.tiles, self._present)
        self._limits.on_progress(told)

    def _present(self) -> Planes:
        track = self._tracks[0]
        image = self._mean.mean[0] if track is self._running[0] or track.best is None else track.best[0]
        first: Planes = image.cpu().numpy()
        return first


def as_bytes(image: Tensor) -> NDArray[np.uint8]:
    """Values of [0, 1] as 0..255."""
    rounded: NDArray[np.uint8] = (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return rounded
