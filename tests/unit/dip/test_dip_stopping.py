"""Policies on traces that are made up, so that the right moment is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest
import torch

from restore_sdk.dip.choosing import AUTOMATIC, Noise, chosen_stopping, new_policy, noise_of
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.presets import PRESETS
from restore_sdk.dip.stopping import (
    DiscrepancyPolicy,
    ExponentialVariancePolicy,
    HeldOutPolicy,
    NoPolicy,
    Observation,
    Policy,
    WindowedVariancePolicy,
)
from restore_sdk.options import DIP_TASKS, DipTask

IMAGE = torch.zeros(1, 4, 4)


def seen(iteration: int, *, iterate: torch.Tensor = IMAGE, loss: float = 1.0, held_out: float = 0.0) -> Observation:
    return Observation(iteration, iterate, iterate, loss, held_out)


def run(policy: Policy, observations: Iterable[Observation]) -> tuple[int, int]:
    """(best iteration, iteration of the stop or 0)."""
    best = 0
    for observation in observations:
        verdict = policy.update(observation)
        best = observation.iteration if verdict.is_best else best
        if verdict.stop:
            return best, observation.iteration
    return best, 0


def wandering(calmest: int, length: int = 200) -> list[Observation]:
    """Iterates that jump about, the less the nearer to `calmest`."""
    steps = [0.01 + abs(iteration - calmest) / length for iteration in range(1, length + 1)]
    return [seen(n, iterate=IMAGE + (step if n % 2 else -step)) for n, step in enumerate(steps, 1)]


def test_windowed_variance_stops_after_the_calmest_window() -> None:
    best, stop = run(WindowedVariancePolicy(window=10, patience=20), wandering(80))
    assert best == pytest.approx(85, abs=2)  # the window ends half its length later
    assert stop == best + 20


def test_exponential_variance_stops_after_the_calmest_time() -> None:
    best, stop = run(ExponentialVariancePolicy(rate=0.2, patience=30), wandering(80))
    assert best == pytest.approx(83, abs=4)
    assert stop == best + 30


def test_windowed_variance_takes_the_latest_until_the_window_is_full() -> None:
    assert run(WindowedVariancePolicy(window=50, patience=20), wandering(80, 40)) == (40, 0)


def test_discrepancy_stops_at_the_noise() -> None:
    falling = [seen(n, loss=0.02 / n**0.5) for n in range(1, 200)]
    best, stop = run(DiscrepancyPolicy(sigma=0.05), falling)
    assert best == stop
    assert 64 < stop < 85  # 0.02 / sqrt(64) is 0.05 ** 2; the mean lags a little


def test_discrepancy_scales_with_tau() -> None:
    falling = [seen(n, loss=0.02 / n**0.5) for n in range(1, 200)]
    assert run(DiscrepancyPolicy(sigma=0.05, tau=2.0), falling)[1] < run(DiscrepancyPolicy(sigma=0.05), falling)[1]


def test_discrepancy_is_not_fooled_by_one_low_loss() -> None:
    losses = [0.01] * 20 + [0.0] + [0.01] * 20
    assert run(DiscrepancyPolicy(sigma=0.09), [seen(n, loss=loss) for n, loss in enumerate(losses, 1)])[1] == 0


def test_discrepancy_gives_the_network_some_iterations() -> None:
    assert run(DiscrepancyPolicy(sigma=1.0), [seen(n, loss=0.1 / n) for n in range(1, 30)]) == (10, 10)


def test_discrepancy_that_is_never_reached_leaves_it_to_the_fallback() -> None:
    policy = DiscrepancyPolicy(sigma=0.001, fallback=WindowedVariancePolicy(window=10, patience=20))
    assert policy.name == "discrepancy"
    best, stop = run(policy, wandering(80))
    assert (policy.name, stop - best) == ("wmv", 20)
    assert best == pytest.approx(85, abs=2)


def test_held_out_error_that_rises_ends_the_fit() -> None:
    errors = [abs(n - 40) / 40 + 0.1 for n in range(1, 100)]
    assert run(HeldOutPolicy(patience=15), [seen(n, held_out=error) for n, error in enumerate(errors, 1)]) == (40, 55)


def test_no_policy_never_stops() -> None:
    assert run(NoPolicy(), [seen(n) for n in range(1, 50)]) == (49, 0)


def test_each_task_has_an_automatic_policy() -> None:
    assert set(AUTOMATIC) == set(DIP_TASKS)
    assert chosen_stopping("dip-inpaint", DipOptions()) == AUTOMATIC["dip-inpaint"]
    assert chosen_stopping("dip-inpaint", DipOptions(stopping="emv")) == "emv"


def test_discrepancy_without_noise_gives_way_to_the_variance() -> None:
    preset = PRESETS["denoise"]
    assert new_policy("discrepancy", DipOptions(), preset, Noise(0.1)).name == "discrepancy"
    assert new_policy("discrepancy", DipOptions(), preset, Noise(0.001)).name == "wmv"
    assert [new_policy(name, DipOptions(), preset, None).name for name in ("emv", "held-out", "none", "wmv")] == [
        "emv",
        "held-out",
        "none",
        "wmv",
    ]


def plateau(loss: Callable[[int], float], length: int = 200) -> list[Observation]:
    """Iterates that move least at 40, and ever more from there on."""
    moves = (torch.full((1, 2, 2), (-1.0) ** n * (1 + abs(n - 40) / 100)) for n in range(1, length + 1))
    return [seen(n, iterate=iterate, loss=loss(n)) for n, iterate in enumerate(moves, 1)]


def test_a_calm_time_is_no_end_while_the_residual_falls() -> None:
    """Fine texture is fitted late: its residual goes down by a fifth in a few dozen iterations, here from 1 to the noise."""
    policy = DiscrepancyPolicy(sigma=0.1, fallback=WindowedVariancePolicy(window=5, patience=50))
    best, stop = run(policy, plateau(lambda n: 0.97**n))
    assert (policy.name, best == stop) == ("discrepancy", True)
    assert 0.97**stop < 0.1**2


def test_a_calm_time_is_the_end_where_the_residual_hardly_falls() -> None:
    policy = DiscrepancyPolicy(sigma=0.1, fallback=WindowedVariancePolicy(window=5, patience=50))
    best, stop = run(policy, plateau(lambda n: 0.5 + 0.3**n))
    assert (policy.name, stop - best) == ("wmv", 50)
    assert 38 <= best <= 45


@pytest.mark.parametrize(("white", "ends"), [(0.1, False), (0.62, False), (0.65, True)])
def test_a_calm_time_is_no_end_above_the_noise_that_is_there(white: float, *, ends: bool) -> None:
    """Half of the residual is left, 1.25 times what noise of 0.632 makes; what is told may be less than what is there."""
    policy = DiscrepancyPolicy(sigma=0.1, fallback=WindowedVariancePolicy(window=5, patience=50), white=white)
    best, stop = run(policy, plateau(lambda n: 0.5 + 0.3**n))
    assert (policy.name, stop > 0) == ("wmv" if ends else "discrepancy", ends)
    assert 38 <= best <= 45  # where nothing better comes, the calm time is what counts


def test_after_waiting_for_the_noise_calm_times_count_anew() -> None:
    """The residual comes down to the noise that is there at iteration 150, its mean twenty later, and no further."""
    policy = DiscrepancyPolicy(sigma=0.1, fallback=WindowedVariancePolicy(window=5, patience=20), white=0.5)
    best, stop = run(policy, plateau(lambda n: 0.4 if n < 150 else 0.3, length=400))
    assert policy.name == "wmv"
    assert 165 <= best <= 175
    assert stop == best + 20


def test_waiting_ends_at_the_noise_that_was_told() -> None:
    policy = DiscrepancyPolicy(sigma=0.5, fallback=WindowedVariancePolicy(window=5, patience=20), white=0.4)
    best, stop = run(policy, plateau(lambda n: 0.3 if n < 150 else 0.2, length=400))
    assert (policy.name, best == stop) == ("discrepancy", True)
    assert 150 <= stop <= 170


@pytest.mark.parametrize(
    ("task", "grain", "sure"), [("dip-denoise", 0, True), ("dip-denoise", 2, False), ("dip-deblur", 0, False)]
)
def test_noise_that_is_sure_to_be_there(task: DipTask, grain: int, *, sure: bool) -> None:
    """White noise, and only where nothing but noise is left over."""
    noisy = 0.5 + 0.1 * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
    if grain:
        noisy = torch.nn.functional.avg_pool2d(noisy[None], 2 * grain + 1, 1, grain)[0]
    found = noise_of(task, DipOptions(sigma=0.03), noisy, None)
    assert found == (0.03, pytest.approx(0.1, rel=0.1) if sure else math.inf)
    assert noise_of(task, DipOptions(), noisy, None).sigma > 0


def test_a_small_sigma_that_is_given_counts() -> None:
    given = DipOptions(sigma=1.9 / 255)
    assert new_policy("discrepancy", given, PRESETS["denoise"], Noise(1.9 / 255)).name == "discrepancy"
    assert new_policy("discrepancy", DipOptions(), PRESETS["denoise"], Noise(1.9 / 255)).name == "wmv"
    assert new_policy("discrepancy", DipOptions(sigma=0.0), PRESETS["denoise"], Noise(0.0)).name == "wmv"
