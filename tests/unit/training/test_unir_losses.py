"""The terms of UNIR against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from restore_sdk.degradations import GivenMask, RemovePixel, seeded
from training.unir import losses


def row(*values: float) -> Tensor:
    """(1, 1, 1, W)."""
    return torch.tensor(values, dtype=torch.float64)[None, None, None]


def keep_first(like: Tensor) -> tuple[GivenMask, object]:
    operator = GivenMask()
    return operator, operator.theta_from_mask(torch.tensor([True, False])[None, None, None], like)


def test_the_case_of_one_and_a_quarter() -> None:
    # y = [2, 0], the mask keeps the first, G(v) = v + 1: y^ = [3, 0], F(G(y^)) = [4, 0], squared error (1 + 0) / 2; D = 1/2
    y = row(2, 0)
    operator, theta = keep_first(y)
    remeasured = operator.measure(y + 1, theta, seeded(0))
    assert remeasured.flatten().tolist() == [3, 0]
    error = losses.remeasured_error(lambda v: v + 1, operator, remeasured, theta)
    assert error.item() == 0.5
    assert losses.GAMES["lsgan"].generator(torch.tensor(0.5)).item() + 2 * error.item() == 1.25


@pytest.mark.parametrize(
    ("kind", "generator", "discriminator"),
    [("lsgan", 0.25, 0.25), ("hinge", -0.5, 2.0), ("nonsaturating", math.log1p(math.exp(-0.5)), 1.4481539)],
)
def test_a_discriminator_that_always_says_one_half(kind: str, generator: float, discriminator: float) -> None:
    half = torch.full((2, 1, 3, 3), 0.5)
    assert losses.GAMES[kind].generator(half).item() == pytest.approx(generator)
    assert losses.GAMES[kind].discriminator(half, half).item() == pytest.approx(discriminator)


def test_least_squares_on_probabilities() -> None:
    # scores 0 are probabilities of 1/2; a sure and right discriminator loses nothing, and the generator all
    game = losses.on_probabilities(losses.GAMES["lsgan"])
    zero, sure = torch.zeros(4), torch.full((4,), 40.0)
    assert game.generator(zero).item() == game.discriminator(zero, zero).item() == 0.25
    assert game.discriminator(sure, -sure).item() == pytest.approx(0.0, abs=1e-30)
    assert game.generator(-sure).item() == pytest.approx(1.0)


@pytest.mark.parametrize("kind", losses.GAMES)
def test_both_sides_pull_the_right_way(kind: str) -> None:
    real, fake = torch.tensor([0.3], requires_grad=True), torch.tensor([0.3], requires_grad=True)
    losses.GAMES[kind].discriminator(real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert real.grad.item() < 0 < fake.grad.item()
    judged = torch.tensor([0.3], requires_grad=True)
    losses.GAMES[kind].generator(judged).backward()
    assert judged.grad is not None
    assert judged.grad.item() < 0


def test_gradient_flows_through_both_passes_but_not_through_the_target() -> None:
    # G(v) = a v on y = [1, 0], first kept: y^ = a, F(G(y^)) = a^2. Squared error (a^2 - a)^2 / 2 = 2 at a = 2; with the target
    # a held fixed at 2 its slope is (a^2 - a) 2 a = 8; without gradient through the inner pass 4, with one through the target 6.
    y, scale = row(1, 0), torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    operator, theta = keep_first(y)
    remeasured = operator.measure(scale * y, theta, seeded(0))
    error = losses.remeasured_error(lambda v: scale * v, operator, remeasured, theta)
    error.backward()
    assert error.item() == 2.0
    assert scale.grad is not None
    assert scale.grad.item() == 8.0


def test_gradient_penalty_by_hand() -> None:
    # D(y) = sum of 3 y^2: the slope at y = [1, 2] is [6, 12], its square 180; at [0, 1] it is 36
    y = torch.tensor([[1.0, 2.0], [0.0, 1.0]])[:, None, None]
    assert losses.gradient_penalty(lambda v: 3 * (v**2).flatten(1).sum(1), y).item() == (180 + 36) / 2


def test_gradient_penalty_reaches_the_weights() -> None:
    # D(y) = w y on one value: w^2, slope 2 w
    weight = torch.tensor(3.0, requires_grad=True)
    losses.gradient_penalty(lambda v: weight * v, torch.ones(1, 1, 1, 1)).backward()
    assert weight.grad is not None
    assert weight.grad.item() == 6.0


def test_split_error_counts_what_is_asked_per_hidden_value() -> None:
    predicted, measured = row(1, 5, 3, 9), row(0, 2, 3, 0)
    hidden = row(0, 1, 1, 0).bool()
    asked = row(1, 1, 1, 0).bool()
    assert losses.split_error(predicted, measured, hidden, hidden).item() == 9 / 2
    assert losses.split_error(predicted, measured, asked, hidden).item() == 10 / 2
    assert losses.split_error(predicted, measured, hidden & False, hidden & False).item() == 0


def test_roughness_by_hand() -> None:
    ramp = torch.tensor([[[[0.0, 1.0, 3.0], [0.0, 1.0, 5.0]]]])  # right: 1, 4, 1, 16; below: 0, 0, 4
    assert losses.roughness(ramp).item() == pytest.approx(26 / 6)
    assert losses.roughness(torch.full((2, 3, 4, 4), 0.7)).item() == 0


def test_neighbours_lie_where_the_offset_says_or_opposite() -> None:
    y = torch.arange(12.0).view(1, 1, 3, 4)
    right = torch.tensor([0, 1])[None, :, None, None].expand(1, 2, 3, 4)
    assert losses.neighbour_values(y, right).flatten().tolist() == [1, 2, 3, 2, 5, 6, 7, 6, 9, 10, 11, 10]
    up = torch.tensor([-1, 0])[None, :, None, None].expand(1, 2, 3, 4)
    assert losses.neighbour_values(y, up).flatten().tolist() == [4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7]


def test_no_neighbour_is_the_pixel_itself_but_for_offset_zero() -> None:
    y = torch.arange(64.0).view(1, 1, 8, 8)
    for rows in range(-2, 3):
        for columns in range(-2, 3):
            offset = torch.tensor([rows, columns])[None, :, None, None].expand(1, 2, 8, 8)
            same = losses.neighbour_values(y, offset) == y
            assert bool(same.all() if rows == columns == 0 else not same.any())


def test_the_share_of_remove_pixel_is_exact_in_what_is_compared() -> None:
    # The counts of the reference at 64x64: floor(0.9 * 4096) = 3686 lost, 410 kept, alike in all channels
    operator, x = RemovePixel(0.9), torch.rand(2, 3, 64, 64) + 0.1
    y = operator.measure(x, operator.sample_theta(x, seeded(0)), seeded(1))
    assert (y != 0).flatten(1).sum(1).tolist() == [3 * 410, 3 * 410]
