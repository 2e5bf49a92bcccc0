"""One fit for two rows: where the truth says it should have stopped, and where it would have stopped by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.dip_cases import SCALE, Trial
from benchmarks.images import FloatPixels
from benchmarks.peers.deep_image_prior import run_deepinv
from restore_sdk.dip.choosing import chosen_stopping, new_policy
from restore_sdk.dip.devices import dip_device
from restore_sdk.dip.fit import Fit, FitLimits
from restore_sdk.dip.noise_level import noise_level
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.presets import chosen_preset
from restore_sdk.dip.problem import Problem, pose
from restore_sdk.dip.results import FitProgress
from restore_sdk.dip.stopping import Observation, Policy, Verdict

Told = Callable[[FitProgress], None]
Clock = Callable[[], float]


def clock_of(device: str) -> Clock:
    """Seconds: of the processor where it does the work, so that other programs do not count; of the wall beside a GPU."""
    return time.process_time if device == "cpu" else time.perf_counter


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results. `curve`: [iteration, seconds, PSNR] now and then; seconds without those of scoring."""

    case: str
    seed: int
    method: str
    psnr: float
    ssim: float
    iterations: int
    seconds: float
    stop: str = ""
    settings: str = ""
    curve: list[list[float]] = field(default_factory=list)


class Watched:
    """Asks the policy, does not obey it, and scores the means on the way.

    Stops once the policy would have, and the last `beyond` iterations brought no new peak: what follows is noise being fitted.
    """

    def __init__(self, policy: Policy, trial: Trial, every: int, beyond: int, clock: Clock) -> None:
        self.name, self._policy, self._trial, self._every, self._beyond = policy.name, policy, trial, every, beyond
        self._clock, self._began, self._scoring = clock, clock(), 0.0
        self.curve: list[list[float]] = []
        self.peak: tuple[float, int, float, FloatPixels] | None = None
        self.chosen: tuple[int, float, FloatPixels] | None = None  # what the policy would give now, and the seconds until then
        self.stopped = ""
        self.stopped_at = 0

    def update(self, seen: Observation) -> Verdict:
        """What the policy would do is only noted."""
        seconds = self._clock() - self._began - self._scoring
        if not self.stopped:
            verdict = self._policy.update(seen)
            before = pixels_of(seen.smoothed) if verdict.is_best or self.chosen is None else self.chosen[2]
            self.chosen, self.stopped_at = (seen.iteration, seconds, before), seen.iteration
            self.stopped = self._policy.name if verdict.stop else ""
        if seen.iteration % self._every == 0:
            self._score(seen, seconds)
        over = bool(self.stopped) and self.peak is not None and seen.iteration - self.peak[1] >= self._beyond
        return Verdict(None, is_best=True, stop=over)

    def _score(self, seen: Observation, seconds: float) -> None:
        began, image = self._clock(), pixels_of(seen.smoothed)
        found = self._trial.psnr(image)
        self.curve.append([seen.iteration, round(seconds, 2), round(found, 3)])
        if self.peak is None or found > self.peak[0]:
            self.peak = found, seen.iteration, seconds, image
        self._scoring += self._clock() - began


def run_ours(
    trial: Trial, options: DipOptions, *, device: str, every: int, beyond: int, on_progress: Told
) -> tuple[list[Row], FloatPixels]:
    """Both rows of one fit, to the end of its iterations or `beyond` its peak, and what the automatic stop gives."""
    task = trial.case.task
    chosen = replace(options, stopping=chosen_stopping(task, options), scale=SCALE)
    preset, problem = chosen_preset(task, chosen), posed(trial, chosen)
    sigma = noise_level(problem.measured[0]) if chosen.stopping == "discrepancy" and options.sigma is None else options.sigma
    where = dip_device(device, chosen.precision)
    watched = Watched(new_policy(chosen.stopping, chosen, preset, sigma), trial, every, beyond, clock_of(where.type))
    limits = FitLimits(None, lambda: False, on_progress)
    Fit(problem, preset, chosen, [watched], indices=[0], device=where, limits=limits).run()
    return rows_of(watched, trial, chosen)


def rows_of(watched: Watched, trial: Trial, options: DipOptions) -> tuple[list[Row], FloatPixels]:
    """What was watched as rows, and the result."""
    if watched.peak is None or watched.chosen is None:
        raise ValueError("nothing was scored; pass an --every below --max-iterations")
    found, iteration, seconds, image = watched.peak
    common = {"case": trial.case.name, "seed": options.seed, "settings": options.width}
    last, spent, result = watched.chosen
    oracle = Row(
        method="ours, oracle peak",
        psnr=found,
        ssim=trial.ssim(image),
        iterations=iteration,
        seconds=round(seconds, 2),
        curve=watched.curve,
        **common,  # type: ignore[arg-type]
    )
    stop = watched.stopped or "max_iterations"
    automatic = Row(
        method="ours, automatic stop",
        psnr=trial.psnr(result),
        ssim=trial.ssim(result),
        iterations=last,
        seconds=round(spent, 2),
        stop=stop,
        **common,  # type: ignore[arg-type]
    )
    return [oracle, automatic], trial.finished(result)


def run_opencv(trial: Trial, seed: int) -> list[Row]:
    """OpenCV's answer."""
    began = time.process_time()
    name, image = trial.opencv()
    seconds = round(time.process_time() - began, 3)
    return [Row(trial.case.name, seed, name, trial.psnr(image), trial.ssim(image), 0, seconds)]


def run_peer(trial: Trial, options: DipOptions, iterations: int, every: int) -> list[Row]:
    """deepinv's loop: its fixed end, and the peak of its iterates."""
    problem = posed(trial, replace(options, stopping="none", scale=SCALE))
    clock = clock_of(problem.measured.device.type)
    began, scoring, curve = clock(), 0.0, []
    best: tuple[float, int, float, FloatPixels] | None = None

    def look(iteration: int, iterate: Tensor) -> None:
        nonlocal scoring, best
        if iteration % every:
            return
        now, image = clock(), pixels_of(iterate[0])
        found = trial.psnr(image)
        curve.append([iteration, round(now - began - scoring, 2), round(found, 3)])
        if best is None or found > best[0]:
            best = found, iteration, curve[-1][1], image
        scoring += clock() - now

    measure = lambda x: problem.operator.apply(x, problem.theta)  # noqa: E731
    made = run_deepinv(problem.measured, measure, problem.shape, iterations=iterations, seed=options.seed, on_iterate=look)
    seconds, image = round(clock() - began - scoring, 2), pixels_of(made[0])
    name, seed = trial.case.name, options.seed
    rows = [Row(name, seed, "deepinv, its end", trial.psnr(image), trial.ssim(image), iterations, seconds)]
    if best is not None:
        rows.append(Row(name, seed, "deepinv, oracle peak", best[0], trial.ssim(best[3]), best[1], best[2], curve=curve))
    return rows


def posed(trial: Trial, options: DipOptions) -> Problem:
    """The trial as the loop takes it."""
    planes = torch.from_numpy(np.ascontiguousarray(trial.measured.transpose(2, 0, 1), np.float32))
    known = None if trial.known is None else torch.from_numpy(trial.known)
    return pose(trial.case.task, planes, options, known=known)


def pixels_of(planes: Tensor) -> FloatPixels:
    """(C, H, W) as (H, W, C)."""
    return np.ascontiguousarray(planes.detach().float().cpu().numpy().transpose(1, 2, 0))
