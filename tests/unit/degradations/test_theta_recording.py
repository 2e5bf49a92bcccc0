"""Theta as arrays and bytes, seeds, and conversions of range."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from restore_sdk.degradations import (
    GivenMask,
    Identity,
    Recording,
    RemovePixel,
    Theta,
    ThetaError,
    load_theta,
    parse,
    save_theta,
    seeded,
    stack_thetas,
)
from restore_sdk.degradations.conversions import (
    batch_from_image,
    from_signed,
    image_from_batch,
    std_from_bytes,
    std_from_signed,
    to_signed,
)
from restore_sdk.errors import ImageShapeError, ImageTypeError

BATCH = torch.zeros(2, 3, 6, 5)


def recorded(**changes: object) -> bytes:
    operator = RemovePixel(0.5)
    theta = operator.sample_theta(BATCH, seeded(0))
    card = {"corruption": operator.describe(), "shape": [2, 3, 6, 5], "notes": {}, **changes}
    return save(theta.arrays(), metadata={"restore_sdk.theta": json.dumps(card)})


def test_what_lies_in_the_file() -> None:
    operator = parse("remove-pixel:p=0.5+gaussian-noise")
    theta = operator.sample_theta(BATCH, seeded(0))
    data = save_theta(Recording(operator, theta, {"seed": 7}))
    arrays = load(data)
    assert list(arrays) == ["0/keep"]
    assert (arrays["0/keep"].shape, arrays["0/keep"].dtype) == ((2, 1, 6, 5), np.bool_)
    assert load_theta(data).notes == {"seed": 7}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a recording",
        b"\xff" * 64,
        recorded()[:-3],
        save({"keep": np.ones((2, 1, 6, 5), bool)}),
        save({"keep": np.ones((2, 1, 6, 5), bool)}, metadata={"other": "x"}),
        save({}, metadata={"restore_sdk.theta": "{"}),
        save({}, metadata={"restore_sdk.theta": "[" * 10_000}),
        save({}, metadata={"restore_sdk.theta": "3"}),
        recorded(corruption="magic"),
        recorded(corruption=3),
        recorded(corruption="remove-pixel-channel"),
        recorded(shape=[2, 3, 6]),
        recorded(shape=[2, 3, 6, -5]),
        recorded(shape=[2, 3, 6, 6]),
        recorded(shape=None),
        recorded(notes=3),
    ],
)
def test_bytes_that_are_no_recording(data: bytes) -> None:
    with pytest.raises(ThetaError):
        load_theta(data)


def test_dtypes_are_checked() -> None:
    with pytest.raises(ThetaError, match="needs"):
        RemovePixel().theta_from_arrays((2, 3, 6, 5), {"keep": np.ones((2, 1, 6, 5), np.float32)})


def test_arrays_are_copies() -> None:
    theta = RemovePixel(0.5).sample_theta(BATCH, seeded(0))
    arrays = theta.arrays()
    again = RemovePixel(0.5).theta_from_arrays(theta.shape, arrays)
    arrays["keep"][:] = False
    assert torch.equal(again.values["keep"], theta.values["keep"])


def test_slices_and_stacks() -> None:
    operator = parse("remove-pixel:p=0.5+gaussian-blur:sigma=1..2")
    thetas = [operator.sample_theta(BATCH[:1], seeded(0, k)) for k in range(3)]
    stacked = stack_thetas(thetas)
    assert stacked.shape == (3, 3, 6, 5)
    assert stacked.parts[0].shape == (3, 3, 6, 5)
    assert torch.equal(stacked[1:2].parts[1].values["vertical"], thetas[1].parts[1].values["vertical"])
    assert stacked[-2:].shape[0] == 2


@pytest.mark.parametrize(
    "thetas",
    [
        [],
        [Identity().sample_theta(BATCH, seeded(0)), RemovePixel().sample_theta(BATCH, seeded(0))],
        [Theta((1, 3, 6, 5)), Theta((1, 3, 6, 6))],
    ],
)
def test_what_cannot_be_stacked(thetas: list[Theta]) -> None:
    with pytest.raises(ThetaError, match="stacked"):
        stack_thetas(thetas)


def test_a_known_mask_is_recorded_too() -> None:
    keep = torch.rand(6, 5, generator=seeded(0)) > 0.5
    theta = GivenMask().theta_from_mask(keep, BATCH)
    replayed = load_theta(save_theta(Recording(GivenMask(), theta))).theta
    assert torch.equal(replayed.values["keep"], keep.expand(2, 1, 6, 5))


def test_seeds() -> None:
    def first(*numbers: int) -> float:
        return torch.rand((), generator=seeded(*numbers), dtype=torch.float64).item()

    assert first(1, 2) == first(1, 2)
    assert len({first(*numbers) for numbers in [(0,), (1,), (0, 0), (0, 1), (1, 0), (2**40, 3)]}) == 6
    means = torch.tensor([first(0, k) for k in range(1000)])
    assert abs(means.mean() - 0.5) < 5 * (12 * 1000) ** -0.5  # neighbours are unrelated
    assert abs(torch.corrcoef(torch.stack([means[1:], means[:-1]]))[0, 1]) < 5 / 1000**0.5


def test_ranges_by_hand() -> None:
    assert to_signed(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-1, 0, 1]
    assert from_signed(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0, 0.5, 1]
    assert std_from_signed(0.3) == 0.15
    assert std_from_bytes(51) == 0.2


@given(st.sampled_from([np.uint8, np.uint16]), st.sampled_from([(3, 4), (3, 4, 3), (2, 2, 4), (2, 2, 2)]), st.integers(0, 99))
def test_integers_come_back(dtype: type, shape: tuple[int, ...], seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    batch = batch_from_image(image)
    assert batch.shape == (1, shape[2] if len(shape) == 3 else 1, *shape[:2])
    assert 0 <= batch.min() <= batch.max() <= 1
    np.testing.assert_array_equal(image_from_batch(batch, dtype), image)


def test_values_outside_are_clipped_and_halves_go_to_even() -> None:
    batch = torch.tensor([-1.0, 2.0, 0.5 / 255, 1.5 / 255], dtype=torch.float64).view(1, 1, 1, 4)
    assert image_from_batch(batch).tolist() == [[0, 255, 0, 2]]


def test_what_is_no_image() -> None:
    with pytest.raises(ImageShapeError):
        batch_from_image(np.zeros(3, np.uint8))
    with pytest.raises(ImageTypeError):
        batch_from_image(np.zeros((3, 3), np.int64))
