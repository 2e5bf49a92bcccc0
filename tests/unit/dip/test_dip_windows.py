"""Variance of the iterates by running sums, against its definition and by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_sdk.dip.averaging import IterateMean
from restore_sdk.dip.windows import MOST_VALUES, ExponentialVariance, WindowedVariance, thinned


def test_window_by_hand() -> None:
    variance = WindowedVariance(2)
    assert variance.update(torch.zeros(1, 2, 2)) is None
    assert variance.update(torch.full((1, 2, 2), 2.0)) == 1.0  # mean 1, both one away from it


@settings(max_examples=25, deadline=None)
@given(window=st.integers(2, 7), count=st.integers(1, 20), seed=st.integers(0, 1000), offset=st.sampled_from([0.0, 0.5, 1000.0]))
def test_window_is_the_naive_formula(window: int, count: int, seed: int, offset: float) -> None:
    iterates = torch.rand((count, 3, 4, 5), generator=torch.Generator().manual_seed(seed)) + offset
    variance = WindowedVariance(window)
    for seen, iterate in enumerate(iterates, 1):
        found = variance.update(iterate)
        if seen < window:
            assert found is None
            continue
        last = iterates[seen - window : seen].double()
        naive = float((last - last.mean(0)).square().sum((1, 2, 3)).mean() / last[0].numel())
        assert found == pytest.approx(naive, rel=1e-6, abs=1e-9)


def test_window_stays_exact_over_many_iterates() -> None:
    variance = WindowedVariance(3)
    rng = torch.Generator().manual_seed(0)
    for _ in range(2000):
        variance.update(torch.rand((1, 4, 4), generator=rng))
    for value in (0.5, 0.5, 0.5):
        found = variance.update(torch.full((1, 4, 4), value))
    assert found == pytest.approx(0.0, abs=1e-12)


def test_exponential_by_hand() -> None:
    variance = ExponentialVariance(0.1)
    assert variance.update(torch.ones(1, 5, 4)) == pytest.approx(0.09)  # of one value
    assert variance.total == pytest.approx(0.09 * 20)
    assert variance.mean is not None
    assert torch.allclose(variance.mean, torch.tensor(0.1))


def test_exponential_clips_nothing() -> None:
    variance = ExponentialVariance(0.5)
    variance.update(torch.full((1, 2, 2), -8.0))
    assert variance.mean is not None
    assert variance.mean.unique().tolist() == [-4.0]


def test_thinning_keeps_a_grid() -> None:
    small = torch.rand(3, 20, 30)
    assert thinned(small) is not small
    assert torch.equal(thinned(small), small)
    large = torch.arange(3 * 300 * 400.0).view(3, 300, 400)
    assert torch.equal(thinned(large), large[:, ::3, ::3])
    assert thinned(large).numel() <= MOST_VALUES


def test_iterate_mean_by_hand() -> None:
    mean, every = IterateMean(0.5), torch.tensor([True])
    for value in (0.0, 1.0, 1.0):
        mean.update(torch.full((1, 1, 1, 1), value), every)
    # decays (1 + 2) / 12 = 0.25 and (1 + 3) / 13 = 4 / 13
    first = 0.75
    assert mean.mean.item() == pytest.approx(first + (9 / 13) * (1 - first))
    spread = 0.25 * 0.75 * 1.0
    assert mean.variance.item() == pytest.approx((4 / 13) * (spread + (9 / 13) * (1 - first) ** 2))


def test_iterate_mean_leaves_out_what_was_not_accepted() -> None:
    mean = IterateMean(0.9)
    mean.update(torch.zeros(2, 1, 1, 1), torch.tensor([True, True]))
    mean.update(torch.tensor([1.0, torch.nan]).view(2, 1, 1, 1), torch.tensor([True, False]))
    assert mean.mean[0].item() > 0
    assert (mean.mean[1].item(), mean.variance[1].item()) == (0.0, 0.0)
    mean.keep([1])
    assert mean.mean.shape == (1, 1, 1, 1)


@pytest.mark.parametrize("shape", [(3, 1, 300_000), (3, 8, 100_000), (3, 295, 295), (1, 65_537, 1), (3, 256, 256)])
def test_thinning_keeps_no_more_than_it_says(shape: tuple[int, int, int]) -> None:
    assert MOST_VALUES / 8 < thinned(torch.zeros(()).expand(shape)).numel() <= MOST_VALUES
