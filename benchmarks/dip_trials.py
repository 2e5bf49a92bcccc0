"""One fit for two rows: where the truth says it should have stopped, and where it would have stopped by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.dip_cases import SCALE, Trial
from benchmarks.images import FloatPixels
from benchmarks.peers.deep_image_prior import run_deepinv
from restore_sdk.dip.choosing import chosen_stopping, new_policy, noise_of
from restore_sdk.dip.devices import dip_device
from restore_sdk.dip.fit import Fit, FitLimits
from restore_sdk.dip.options import DipOptions, Precision, Stopping, Width
from restore_sdk.dip.presets import chosen_preset
from restore_sdk.dip.problem import Problem, pose
from restore_sdk.dip.results import FitProgress
from restore_sdk.dip.stopping import Observation, Policy, Verdict

ORACLE, AUTOMATIC_STOP, PEER_PEAK = "ours, oracle peak", "ours, automatic stop", "deepinv, oracle peak"
OTHER_POLICIES: tuple[Stopping, ...] = ("wmv", "emv")  # asked beside the automatic one; they need nothing but the iterates
Told = Callable[[FitProgress], None]
Clock = Callable[[], float]


def way_of(options: DipOptions) -> str:
    """How rows name a fit of ours: "draft", "draft bf16", "draft bf16 compiled"."""
    precision = [] if options.precision == "fp32" else [options.precision]
    return " ".join([options.width, *precision, *(["compiled"] if options.compiled else [])])


def with_way(options: DipOptions, way: str) -> DipOptions:
    """The options of a fit that way_of() names so."""
    width, *others = way.split()
    precision = next((word for word in others if word != "compiled"), "fp32")
    return replace(options, width=cast(Width, width), precision=cast(Precision, precision), compiled="compiled" in others)


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
    commit: str = ""  # of the checkout that measured it


@dataclass(slots=True)
class Candidate:
    """A policy that is asked but not obeyed. `chosen`: the iteration it is at, the seconds until then, and what it would give."""

    policy: Policy
    chosen: tuple[int, float, FloatPixels] | None = None
    stopped: str = ""

    def ask(self, seen: Observation, seconds: float) -> None:
        """Its verdict, until it would have stopped."""
        if self.stopped:
            return
        verdict = self.policy.update(seen)
        kept = pixels_of(seen.smoothed) if verdict.is_best or self.chosen is None else self.chosen[2]
        self.chosen = seen.iteration, seconds, kept
        self.stopped = self.policy.name if verdict.stop else ""


class Watched:
    """Asks the automatic policy and `others`, obeys none, and scores the means on the way.

    Stops once the automatic one would have, and the last `beyond` iterations brought no new peak: after that noise is fitted.
    """

    def __init__(
        self, policy: Policy, others: Mapping[Stopping, Policy], trial: Trial, *, every: int, beyond: int, clock: Clock
    ) -> None:
        self.name, self.automatic = policy.name, Candidate(policy)
        self.others = {name: Candidate(other) for name, other in others.items()}
        self._trial, self._every, self._beyond = trial, every, beyond
        self._clock, self._began, self._scoring = clock, clock(), 0.0
        self.curve: list[list[float]] = []
        self.peak: tuple[float, int, float, FloatPixels] | None = None

    def update(self, seen: Observation) -> Verdict:
        """What the policies would do is only noted."""
        seconds = self._clock() - self._began - self._scoring
        self.automatic.ask(seen, seconds)
        began = self._clock()
        for candidate in self.others.values():
            candidate.ask(seen, seconds)
        if seen.iteration % self._every == 0:
            self._score(seen, seconds)
        self._scoring += self._clock() - began
        over = bool(self.automatic.stopped) and self.peak is not None and seen.iteration - self.peak[1] >= self._beyond
        return Verdict(None, is_best=True, stop=over)

    def _score(self, seen: Observation, seconds: float) -> None:
        image = pixels_of(seen.smoothed)
        found = self._trial.psnr(image)
        self.curve.append([seen.iteration, round(seconds, 2), round(found, 3)])
        if self.peak is None or found > self.peak[0]:
            self.peak = found, seen.iteration, seconds, image


def run_ours(
    trial: Trial, options: DipOptions, *, device: str, every: int, beyond: int, on_progress: Told
) -> tuple[list[Row], FloatPixels]:
    """Both rows of one fit, to the end of its iterations or `beyond` its peak, and what the automatic stop gives."""
    task = trial.case.task
    chosen = replace(options, stopping=chosen_stopping(task, options), scale=SCALE, kernel=trial.case.kernel)
    preset, problem = chosen_preset(task, chosen), posed(trial, chosen)
    known = None if trial.known is None else torch.from_numpy(trial.known)[None]
    noise = noise_of(task, chosen, problem.measured[0], known) if chosen.stopping == "discrepancy" else None
    where = dip_device(device, chosen.precision, compiled=chosen.compiled)
    others = {name: new_policy(name, chosen, preset, noise) for name in OTHER_POLICIES if name != chosen.stopping}
    looking = {"every": every, "beyond": beyond, "clock": clock_of(where.type)}
    warm_up(where)
    watched = Watched(new_policy(chosen.stopping, chosen, preset, noise), others, trial, **looking)  # type: ignore[arg-type]
    limits = FitLimits(None, lambda: False, on_progress)
    Fit(problem, preset, chosen, [watched], indices=[0], device=where, limits=limits).run()
    return rows_of(watched, trial, replace(chosen, max_iterations=preset.iterations))


def warm_up(device: torch.device) -> None:
    """Have a GPU's context and libraries loaded, which no fit's seconds should hold."""
    if device.type == "cuda":
        convolution = torch.nn.Conv2d(3, 3, 3, device=device)
        convolution(torch.zeros(1, 3, 32, 32, device=device)).sum().backward()  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(device)


def rows_of(watched: Watched, trial: Trial, options: DipOptions) -> tuple[list[Row], FloatPixels]:
    """What was watched as rows, and the result."""
    if watched.peak is None or watched.automatic.chosen is None:
        raise ValueError("nothing was scored; pass an --every below --max-iterations")
    found, iteration, seconds, image = watched.peak
    name, seed, settings = trial.case.name, options.seed, way_of(options)
    oracle = Row(name, seed, ORACLE, found, trial.ssim(image), iteration, round(seconds, 2), "", settings, watched.curve)
    candidates = {AUTOMATIC_STOP: watched.automatic, **{asked_only(name): other for name, other in watched.others.items()}}
    stops = [stop_row(method, candidate, trial, options) for method, candidate in candidates.items()]
    return [oracle, *(row for row in stops if row is not None)], trial.finished(watched.automatic.chosen[2])


def asked_only(policy: Stopping) -> str:
    """Method of the rows of a policy that did not decide."""
    return f"ours, by {policy}"


def stop_row(method: str, candidate: Candidate, trial: Trial, options: DipOptions) -> Row | None:
    """What a policy would have given; None if it had not stopped when the fit ended before its budget, `max_iterations`."""
    if candidate.chosen is None:
        return None
    iterations, seconds, result = candidate.chosen
    if not candidate.stopped and iterations != options.max_iterations:
        return None
    facts = trial.psnr(result), trial.ssim(result), iterations, round(seconds, 2)
    return Row(trial.case.name, options.seed, method, *facts, candidate.stopped or "max_iterations", way_of(options))


def run_opencv(trial: Trial, seed: int) -> list[Row]:
    """OpenCV's answer."""
    began = time.process_time()
    name, image = trial.opencv()
    seconds = round(time.process_time() - began, 3)
    return [Row(trial.case.name, seed, name, trial.psnr(image), trial.ssim(image), 0, seconds)]


def run_peer(trial: Trial, options: DipOptions, iterations: int, every: int) -> list[Row]:
    """deepinv's loop: its fixed end, and the peak of its iterates."""
    problem = posed(trial, replace(options, stopping="none", scale=SCALE, kernel=trial.case.kernel))
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
        rows.append(Row(name, seed, PEER_PEAK, best[0], trial.ssim(best[3]), best[1], best[2], curve=curve))
    return rows


def posed(trial: Trial, options: DipOptions) -> Problem:
    """The trial as the loop takes it."""
    planes = torch.from_numpy(np.ascontiguousarray(trial.measured.transpose(2, 0, 1), np.float32))
    known = None if trial.known is None else torch.from_numpy(trial.known)
    return pose(trial.case.task, planes, options, known=known)


def pixels_of(planes: Tensor) -> FloatPixels:
    """(C, H, W) as (H, W, C)."""
    return np.ascontiguousarray(planes.detach().float().cpu().numpy().transpose(1, 2, 0))
