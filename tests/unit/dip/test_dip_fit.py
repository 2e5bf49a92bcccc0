"""The loop: seeds, budgets, cancelling, several images at once, and what the prior is good for."""

from __future__ import annotations

import gc
import itertools
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_fits import CPU, TINY, denoising, noise, photo, tiny_fit

from restore_sdk.dip.engine import restore_planes
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.presets import PRESETS, narrowed
from restore_sdk.dip.problem import pose
from restore_sdk.dip.results import FitProgress
from restore_sdk.dip.stepping import Stepper
from restore_sdk.dip.stopping import NoPolicy, Observation, Verdict


class Scripted:
    """Best at one iteration, stops at another."""

    name = "scripted"

    def __init__(self, best: int, stop: int) -> None:
        self._best, self._stop = best, stop

    def update(self, seen: Observation) -> Verdict:
        return Verdict(float(seen.iteration), seen.iteration == self._best, seen.iteration == self._stop)


def test_a_seed_decides() -> None:
    problem = denoising()
    first, again = (tiny_fit(problem).run()[0] for _ in range(2))
    other = tiny_fit(problem, options=DipOptions(seed=1)).run()[0]
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.variance, again.variance)
    assert not np.array_equal(first.image, other.image)


def test_the_best_iteration_is_the_result() -> None:
    problem = denoising()
    stopped = tiny_fit(problem, [Scripted(best=5, stop=9)]).run()[0]
    shorter = tiny_fit(problem, [NoPolicy()], preset=replace(TINY, iterations=5)).run()[0]
    assert (stopped.iterations, stopped.best_iteration, stopped.stop_reason) == (9, 5, "scripted")
    assert np.array_equal(stopped.image, shorter.image)
    assert [point.iteration for point in stopped.trajectory] == list(range(1, 10))
    assert [point.score for point in stopped.trajectory][:2] == [1.0, 2.0]


def test_budget_of_iterations() -> None:
    result = tiny_fit(denoising()).run()[0]
    assert (result.iterations, result.stop_reason, result.policy) == (12, "max_iterations", "none")
    assert [at for at, _ in result.strip] == [10]
    assert result.strip[0][1].dtype == np.uint8


def test_budget_of_seconds() -> None:
    ticks = itertools.count()
    result = tiny_fit(denoising(), limits={"seconds": 9.0}, clock=lambda: float(next(ticks))).run()[0]
    assert result.stop_reason == "max_seconds"
    assert 1 < result.iterations < 12


def test_cancelling_gives_the_best_so_far() -> None:
    told: list[FitProgress] = []
    limits = {"cancelled": lambda: len(told) >= 4, "on_progress": told.append}
    result = tiny_fit(denoising(), [Scripted(best=3, stop=99)], limits=limits).run()[0]
    assert (result.iterations, result.best_iteration, result.stop_reason) == (4, 3, "cancelled")
    assert [progress.iteration for progress in told] == [1, 2, 3, 4]
    assert told[-1].budget == 12
    assert told[-1].score == 4.0
    assert told[-1].image().shape == (3, 16, 16)


def test_cancelled_at_once_still_makes_one_iteration() -> None:
    result = tiny_fit(denoising(), limits={"cancelled": lambda: True}, options=DipOptions(coarse=5)).run()[0]
    assert (result.iterations, result.stop_reason) == (1, "cancelled")
    assert np.isfinite(result.image).all()


def test_images_side_by_side_are_fitted_as_each_alone() -> None:
    preset = replace(TINY, iterations=6)
    both = tiny_fit(denoising(2), preset=preset).run()
    for image in range(2):
        alone = tiny_fit(denoising(2).select([image]), preset=preset, indices=[image]).run()[0]
        np.testing.assert_allclose(both[image].image, alone.image, atol=2e-4)
        assert both[image].trajectory[-1].loss == pytest.approx(alone.trajectory[-1].loss, rel=1e-3)


def test_each_image_stops_by_itself_and_makes_room() -> None:
    policies = [Scripted(2, 3), Scripted(4, 5), Scripted(7, 8), Scripted(9, 99)]
    fit = tiny_fit(denoising(4), policies)
    results = fit.run()
    assert [result.iterations for result in results] == [3, 5, 8, 12]
    assert [result.stop_reason for result in results] == ["scripted"] * 3 + ["max_iterations"]
    assert fit._stepper.network.copies == 1  # those that stopped cost nothing any more
    alone = tiny_fit(denoising(4).select([3]), [Scripted(9, 99)], indices=[3]).run()[0]
    np.testing.assert_allclose(results[3].image, alone.image, atol=1e-3)


def test_a_warm_start_goes_on_from_the_weights() -> None:
    problem = denoising()
    first = tiny_fit(problem, limits={"keep_weights": True}).run()[0]
    assert first.weights is not None
    warm = tiny_fit(problem, start=[first.weights]).run()[0]
    assert warm.trajectory[0].loss < first.trajectory[0].loss
    assert warm.trajectory[0].loss == pytest.approx(first.trajectory[-1].loss, rel=0.3)


def test_a_coarse_start_fits_half_the_resolution() -> None:
    problem = denoising()
    cold = tiny_fit(problem).run()[0]
    coarse = tiny_fit(problem, options=DipOptions(coarse=20)).run()[0]
    assert coarse.iterations == cold.iterations == 12
    assert coarse.trajectory[0].loss < cold.trajectory[0].loss


@pytest.mark.parametrize("side", [6, 20])  # a canvas that is too small to be halved, one of an odd number of strides
def test_z_and_the_noise_on_it_are_the_same_with_a_coarse_start(side: int) -> None:
    inputs = []
    for coarse in (0, 6):
        options = DipOptions(coarse=coarse)
        stepper = Stepper(denoising(2, side), TINY, options, [0, 1], device=CPU)
        before = stepper._inputs.given.clone()
        stepper._inputs.draw()
        inputs.append((before, stepper._inputs.given))
    for plain, coarse in zip(*inputs, strict=True):
        assert torch.equal(plain, coarse)


@pytest.mark.parametrize("side", [6, 20])
def test_a_coarse_step_takes_any_size(side: int) -> None:
    stepper = Stepper(denoising(1, side), TINY, DipOptions(coarse=1), [0], device=CPU)
    assert stepper.step(coarse=True)[0].shape == stepper.step()[0].shape


def test_a_warm_start_after_a_coarse_one_goes_on_from_its_own_input() -> None:
    """As a frame of a video: the first has coarse iterations, the next has not."""
    problem, preset = denoising(side=20), replace(TINY, iterations=40, input_noise=0.0)
    first = tiny_fit(problem, preset=preset, options=DipOptions(coarse=5), limits={"keep_weights": True}).run()[0]
    assert first.weights is not None
    warm = tiny_fit(problem, preset=preset, options=DipOptions(), start=[first.weights]).run()[0]
    assert warm.trajectory[0].loss <= first.trajectory[-1].loss


def test_what_a_fit_holds_goes_with_it() -> None:
    """Not when the garbage collector comes: the next group of tiles needs the memory."""
    fit = tiny_fit(denoising())
    fit.run()
    held = weakref.ref(fit._stepper)
    gc.disable()
    try:
        del fit
        assert held() is None
    finally:
        gc.enable()


def test_what_a_captured_step_computes_with_stays_in_its_place() -> None:
    options = DipOptions(scale=4)
    problem = pose("dip-super-resolve", torch.from_numpy(photo(20)), options)

    def others_come() -> None:
        for side in range(12, 60, 4):
            pose("dip-super-resolve", torch.zeros(3, side, side), options).constants()

    fit = tiny_fit(problem)
    held = weakref.ref(problem.constants()[0])
    others_come()
    assert problem.constants()[0] is held()
    others_come()
    del fit
    assert held() is None


def test_noise_impedance() -> None:
    """Figure 2 of the paper: the network takes a photograph sooner than noise."""
    natural = photo(64)
    white = np.random.default_rng(1).random((3, 64, 64), np.float32)
    images = [natural, np.clip(natural + noise(64, 25 / 255), 0, 1), white]
    preset = replace(narrowed(PRESETS["denoise"], "draft"), iterations=60, input_noise=0.0)
    losses = []
    for image in images:
        problem = pose("dip-denoise", torch.from_numpy(image), DipOptions())
        losses.append(tiny_fit(problem, preset=preset).run()[0].trajectory[-1].loss)
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.slow
def test_denoising_gains_four_decibels() -> None:
    clean = photo(64)
    noisy = clean + noise(64, 25 / 255)
    outcome = restore_planes("dip-denoise", noisy, DipOptions(width="draft", max_iterations=400), device="cpu")

    def psnr(image: np.ndarray) -> float:
        return float(-10 * np.log10(np.mean((image - clean) ** 2)))

    assert psnr(outcome.image) > psnr(noisy) + 4
    assert outcome.sigma == pytest.approx(25 / 255, rel=0.2)
