"""A loss that jumps goes back to the last sound state, moments included."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_fits import CPU, TINY, denoising, tiny_fit

from restore_sdk.dip.fit import Fit
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.snapshots import BEFORE_SLOWING, INTERVAL, MOST_IN_A_ROW, Guard
from restore_sdk.dip.stepping import Stepper
from restore_sdk.dip.stopping import NoPolicy, Observation, Verdict


def sound_guard(values: list[torch.Tensor], loss: float = 1.0) -> Guard:
    """A guard that has kept `values` of two images as they are now."""
    guard = Guard(2)
    for _ in range(2 * INTERVAL + 2):
        assert guard.check([loss, loss]) == [True, True]
        guard.note([loss, loss], [True, True], values)
    return guard


def test_jumps_and_nan_are_not_accepted() -> None:
    guard = sound_guard([torch.zeros(2, 3)])
    assert guard.check([3.1, 3.2]) == [True, False]  # 5 dB are a factor of 3.16
    assert guard.check([math.nan, math.inf]) == [False, False]
    assert Guard(1).check([1e9]) == [True]


def test_only_the_image_that_jumped_goes_back() -> None:
    values = [torch.ones(4, 5), torch.ones(2)]
    guard = sound_guard(values)
    for value in values:
        value.fill_(7.0)
    guard.note([1.0, 50.0], [True, False], values)
    assert values[0].tolist() == [[7.0] * 5] * 2 + [[1.0] * 5] * 2
    assert values[1].tolist() == [7.0, 1.0]
    assert guard.rollbacks == [0, 1]


def test_a_state_is_kept_only_after_the_next_loss_was_sound() -> None:
    values = [torch.ones(2, 1)]
    guard = sound_guard(values)
    for _ in range(INTERVAL):
        guard.note([1.0, 1.0], [True, True], values)
    values[0].fill_(9.0)  # what the last step made; a candidate may have been taken of it
    guard.note([1.0, 1.0], [True, True], values)
    values[0].fill_(5.0)
    guard.note([99.0, 99.0], [False, False], values)
    assert values[0].flatten().tolist() == [1.0, 1.0]


def test_repeated_rollbacks_slow_down_and_then_end() -> None:
    values = [torch.ones(2, 1)]
    guard = sound_guard(values)
    slowed = [guard.note([99.0, 1.0], [False, True], values) for _ in range(MOST_IN_A_ROW)]
    assert slowed == [n == BEFORE_SLOWING for n in range(1, MOST_IN_A_ROW + 1)]
    assert guard.is_lost(0)
    assert not guard.is_lost(1)


def test_keeping_some_images_keeps_their_states() -> None:
    values = [torch.tensor([[1.0], [2.0]])]
    guard = sound_guard(values)
    guard.keep([1], 2)
    current = [torch.zeros(1, 1)]
    guard.note([9e9], [False], current)
    assert current[0].item() == 2.0


def stepper_with_snapshot(count: int) -> tuple[Stepper, Guard]:
    """Five steps of `count` images, the first of them kept."""
    stepper, guard = Stepper(denoising(count), TINY, DipOptions(), range(count), device=CPU), Guard(count)
    for _ in range(5):
        _, losses = stepper.step()
        guard.note(losses.tolist(), [True] * count, stepper.current())
    return stepper, guard


def steps_of(stepper: Stepper) -> set[float]:
    """What Adam has counted."""
    return {state["step"].item() for state in stepper._optimizer.state.values()}


def test_a_single_image_goes_back_with_the_count_of_its_steps() -> None:
    stepper, guard = stepper_with_snapshot(1)
    assert steps_of(stepper) == {5}
    guard.note([math.nan], [False], stepper.current())
    assert steps_of(stepper) == {1}


def test_one_of_several_goes_back_without_the_count_they_share() -> None:
    stepper, guard = stepper_with_snapshot(2)
    guard.note([math.nan, 0.1], [False, True], stepper.current())
    assert steps_of(stepper) == {5}
    guard.keep([0], 2)
    stepper.keep([0])
    guard.note([math.nan], [False], stepper.current())  # to a snapshot that was taken of both
    assert steps_of(stepper) == {5}


class Spoiler(NoPolicy):
    """Ruins the weights of its fit once."""

    fit: Fit

    def __init__(self, at: int, value: float) -> None:
        self._at, self._value = at, value
        self.moments: list[torch.Tensor] = []

    def update(self, seen: Observation) -> Verdict:
        if seen.iteration == self._at:
            self.moments = [value.clone() for value in self.fit._stepper.current()]
            with torch.no_grad():
                for value in self.fit._stepper.current():
                    value.fill_(self._value)
        return super().update(seen)


@pytest.mark.parametrize("value", [math.nan, 1e4])
def test_a_ruined_network_recovers(value: float) -> None:
    from dataclasses import replace

    spoiler = Spoiler(at=2 * INTERVAL + 5, value=value)
    preset = replace(TINY, iterations=3 * INTERVAL)
    spoiler.fit = tiny_fit(denoising(), [spoiler], preset=preset)
    result = spoiler.fit.run()[0]
    assert result.rollbacks >= 1
    assert result.stop_reason == "max_iterations"
    assert result.trajectory[-1].loss < result.trajectory[0].loss
    assert all(torch.isfinite(state).all() for state in spoiler.fit._stepper.current())
    assert len(result.trajectory) == 3 * INTERVAL - result.rollbacks  # what was thrown away is not in the record


def test_a_network_that_cannot_be_saved_ends_as_diverged() -> None:
    problem = denoising()
    problem.measured.fill_(math.nan)
    result = tiny_fit(problem).run()[0]
    assert (result.stop_reason, result.rollbacks) == ("diverged", MOST_IN_A_ROW)
    assert torch.from_numpy(result.image).isfinite().all()


def test_losses_next_to_nothing_may_jump() -> None:
    guard = sound_guard([torch.zeros(2, 3)], loss=1e-7)
    assert guard.check([2e-5, 5e-5]) == [True, False]
