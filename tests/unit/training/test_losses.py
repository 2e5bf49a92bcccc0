"""The losses against values worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.self_supervised import losses

SIGMA = torch.tensor(0.5).reshape(1, 1, 1, 1)


def images(*values: float, shape: tuple[int, ...] = (1, 1, 1, 2)) -> Tensor:
    return torch.tensor(values).reshape(shape)


def test_sure_of_a_scaled_image() -> None:
    # f(y) = y / 2, y = [1, -1], sigma^2 = 1/4: |f(y) - y|^2 / n - sigma^2 + 2 sigma^2 / 2 = 1/4 - 1/4 + 1/4
    value = losses.sure(lambda y: 0.5 * y, images(1.0, -1.0), SIGMA, tau=0.1, probe=images(1.0, -1.0))
    assert value.tolist() == pytest.approx([0.25], abs=1e-6)


def test_sure_of_the_identity_is_the_noise() -> None:
    # f(y) = y leaves all the noise: 0 - sigma^2 + 2 sigma^2
    value = losses.sure(lambda y: y, images(0.3, 0.9), SIGMA, tau=0.1, probe=images(-1.0, 1.0))
    assert value.tolist() == pytest.approx([0.25], abs=1e-6)


def test_sure_gives_one_number_for_each_image() -> None:
    noisy = torch.tensor([[1.0, -1.0], [2.0, 2.0]]).reshape(2, 1, 1, 2)
    sigma = torch.tensor([0.5, 1.0]).reshape(2, 1, 1, 1)
    value = losses.sure(lambda y: 0.5 * y, noisy, sigma, tau=0.1, probe=torch.ones_like(noisy))
    assert value.tolist() == pytest.approx([0.25, 1.0 - 1.0 + 1.0], abs=1e-6)


def test_sure_tracks_the_true_error() -> None:
    # Shrinking zero-mean white data: E |a y - x|^2 = (1 - a)^2 var(x) + a^2 sigma^2 = 0.25 * 1 + 0.25 * 0.25
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(1, 1, 400, 400, generator=generator)
    noisy = clean + 0.5 * torch.randn(clean.shape, generator=generator)
    probe = torch.empty_like(clean).bernoulli_(0.5, generator=generator) * 2 - 1
    value = losses.sure(lambda y: 0.5 * y, noisy, SIGMA, tau=0.1, probe=probe)
    assert value.item() == pytest.approx(0.3125, rel=0.02)


def test_divergence_of_a_diagonal_map_is_its_trace() -> None:
    diagonal = torch.tensor([2.0, -1.0, 0.5, 4.0]).reshape(1, 1, 2, 2)
    noisy, probe = torch.zeros(1, 1, 2, 2), images(1.0, -1.0, -1.0, 1.0, shape=(1, 1, 2, 2))
    value = losses.divergence(lambda y: diagonal * y, noisy, noisy, torch.tensor(0.25), probe)
    assert value.item() == (2.0 - 1.0 + 0.5 + 4.0) / 4


def test_recorrupted_noises_are_uncorrelated() -> None:
    generator = torch.Generator().manual_seed(1)
    noise = 0.5 * torch.randn(1, 1, 1000, 1000, generator=generator)
    draw = torch.randn(noise.shape, generator=generator)
    first, second = losses.recorrupt(noise, SIGMA, 0.7, draw)
    # The standard error of the covariance is about sqrt(var var / n): 0.61 * 0.87 / 1000
    assert abs(float((first * second).mean())) < 4 * 0.53 / 1000
    assert float(first.var()) == pytest.approx(0.25 * (1 + 0.49), rel=0.01)
    assert float(second.var()) == pytest.approx(0.25 * (1 + 1 / 0.49), rel=0.01)


def test_r2r_by_hand() -> None:
    # y = 1, sigma = 0.5, w = 2, alpha = 0.5: input 1 + 0.5, target 1 - 2; the identity misses it by 2.5
    noisy, draw = images(1.0, shape=(1, 1, 1, 1)), images(2.0, shape=(1, 1, 1, 1))
    assert losses.r2r(lambda y: y, noisy, SIGMA, alpha=0.5, draw=draw).tolist() == [6.25]
    assert losses.r2r(lambda y: 0 * y, noisy, SIGMA, alpha=0.5, draw=draw).tolist() == [1.0]


def test_neighbour_pairs_touch_and_are_never_diagonal() -> None:
    pairs = [tuple(pair) for pair in losses.NEIGHBOUR_PAIRS.tolist()]
    places = {0: (0, 0), 1: (0, 1), 2: (1, 0), 3: (1, 1)}
    distances = {abs(places[a][0] - places[b][0]) + abs(places[a][1] - places[b][1]) for a, b in pairs}
    assert distances == {1}
    assert len(set(pairs)) == 8
    assert {(b, a) for a, b in pairs} == set(pairs)


@pytest.mark.parametrize("row", range(8))
def test_neighbours_takes_the_pair_it_is_told(row: int) -> None:
    # 2x2 cells numbered 0 1 / 2 3; channel c adds 100, cell k adds 10
    cell = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    plane = torch.cat([cell, cell + 10], 1)
    image = torch.stack([plane, plane + 100])[None]
    first, second = losses.neighbours(image, torch.full((1, 1, 2), row))
    a, b = losses.NEIGHBOUR_PAIRS[row].tolist()
    assert first.tolist() == [[[[a, a + 10.0]], [[a + 100.0, a + 110.0]]]]
    assert second.tolist() == [[[[b, b + 10.0]], [[b + 100.0, b + 110.0]]]]


def test_neighbor2neighbor_of_the_identity() -> None:
    # cells 1 4 / 9 16 and 0 0 / 2 2, pairs (0, 1) and (0, 2): differences -3 and -2, the regulariser is 0
    image = torch.tensor([[1.0, 4.0, 0.0, 0.0], [9.0, 16.0, 2.0, 2.0]])[None, None]
    pairs = torch.tensor([[[0, 1]]])
    without, with_regulariser = (losses.neighbor2neighbor(lambda y: y, image, gamma=gamma, pairs=pairs) for gamma in (0.0, 9.0))
    assert without.tolist() == [(9.0 + 4.0) / 2]
    assert with_regulariser.tolist() == without.tolist()


def test_neighbor2neighbor_regulariser_by_hand() -> None:
    # f(y) = 3 y on the cell 1 4 / 9 16 with pair (0, 1): d = 3 - 4, e = 3 - 12; d^2 + 2 (d - e)^2
    image = torch.tensor([[1.0, 4.0], [9.0, 16.0]])[None, None]
    value = losses.neighbor2neighbor(lambda y: 3 * y, image, gamma=2.0, pairs=torch.tensor([[[0]]]))
    assert value.tolist() == [1.0 + 2.0 * 64.0]


def test_neighbor2neighbor_has_no_gradient_through_the_whole_image() -> None:
    # As above with f(y) = a y and a = 3: d = a - 4, e = -3 a held fixed at -9, so the gradient is 2 d + 2 gamma (d - e)
    scale = torch.tensor(3.0, requires_grad=True)
    graded: list[bool] = []

    def network(y: Tensor) -> Tensor:
        graded.append(torch.is_grad_enabled())
        return scale * y

    image = torch.tensor([[1.0, 4.0], [9.0, 16.0]])[None, None]
    losses.neighbor2neighbor(network, image, gamma=2.0, pairs=torch.tensor([[[0]]])).sum().backward()
    assert graded == [False, True]
    assert scale.grad is not None
    assert scale.grad.item() == 2 * -1.0 + 2 * 2.0 * 8.0


def test_sure_has_gradient_through_both_passes() -> None:
    # SURE(a) = (a - 1)^2 - 1/4 + a / 2 on y = [1, -1]: the derivative at a = 1/2 is -1 + 1/2, and -1 without the second pass
    scale = torch.tensor(0.5, requires_grad=True)
    losses.sure(lambda y: scale * y, images(1.0, -1.0), SIGMA, tau=0.1, probe=images(1.0, 1.0)).sum().backward()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(-0.5, abs=1e-5)


def test_supervised_is_the_squared_error() -> None:
    assert losses.supervised(lambda y: y, images(1.0, 3.0), images(0.0, 1.0)).tolist() == [2.5]
