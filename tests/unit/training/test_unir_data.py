"""Patches are cut once and corrupted once, by their index."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_images import smooth_image

from restore_sdk.degradations import parse, seeded
from training.data.corrupted import ObservationStream, cut, observe_once, thetas_at
from training.data.noise import as_planes

COMPOSED = parse("gaussian-blur:sigma=0.5..1.5+remove-pixel:p=0.5+gaussian-noise:sigma=0.1")


@given(height=st.integers(4, 30), width=st.integers(4, 30), patch=st.integers(1, 12))
def test_patches_are_of_their_size_and_share_no_pixel(height: int, width: int, patch: int) -> None:
    image = np.arange(height * width, dtype=np.uint16).reshape(height, width, 1).repeat(3, 2)
    pieces = cut(image, patch)
    assert len(pieces) == (height // patch) * (width // patch)
    assert all(piece.shape == (patch, patch, 3) for piece in pieces)
    numbers = np.concatenate([piece[..., 0].ravel() for piece in pieces]) if pieces else np.zeros(0)
    assert len(set(numbers.tolist())) == len(numbers)


def test_patches_lie_around_the_centre() -> None:
    image = np.zeros((7, 10, 3), np.uint8)
    image[1:6, 2:7] = 1
    (only,) = cut(image[:, :9], 5)
    assert only.all()


def test_each_patch_is_corrupted_by_its_index_alone() -> None:
    patches = [smooth_image(index, 12, 16) for index in range(4)]
    together = observe_once(patches, COMPOSED, 3, keep_clean=True)
    assert torch.equal(together.measured, observe_once(patches, COMPOSED, 3, keep_clean=False).measured)
    assert not torch.equal(together.measured, observe_once(patches, COMPOSED, 4, keep_clean=False).measured)
    rng = seeded(3, 2)
    alone = torch.from_numpy(as_planes(patches[2]))[None]
    theta = COMPOSED.sample_theta(alone, rng)
    assert torch.equal(COMPOSED.measure(alone, theta, rng), together.measured[2:3])
    assert together.clean is not None
    assert torch.equal(together.clean[2:3], alone)
    other = observe_once([patches[1], patches[0]], COMPOSED, 3, keep_clean=False)
    kept, of_other = (COMPOSED.kept(each.theta) for each in (together, other))
    assert kept is not None
    assert of_other is not None
    assert torch.equal(kept[:2], of_other)


def test_thetas_of_chosen_images_replay_their_corruption() -> None:
    operator = parse("gaussian-blur:sigma=0.5..1.5+remove-pixel:p=0.5")
    observed = observe_once([smooth_image(index, 12, 16) for index in range(4)], operator, 0, keep_clean=True)
    assert observed.clean is not None
    chosen = torch.tensor([3, 1, 3])
    again = operator.apply(observed.clean[chosen], thetas_at(observed.theta, chosen))
    assert torch.allclose(again, observed.measured[chosen], atol=1e-6)


def stream(batch: int = 3, seed: int = 0, *, keep_clean: bool = False) -> ObservationStream:
    patches = [smooth_image(index, 8, 8) for index in range(5)]
    return ObservationStream(observe_once(patches, parse("remove-pixel:p=0.5"), 0, keep_clean=keep_clean), batch, seed)


def test_a_stream_that_begins_later_goes_on_as_the_first_would_have() -> None:
    whole, later = list(islice(stream(), 5)), stream()
    later.start = 3
    assert [batch["index"].tolist() for batch in islice(later, 2)] == [batch["index"].tolist() for batch in whole[3:]]
    assert len({tuple(batch["index"].tolist()) for batch in whole}) > 1


def test_batches_hold_clean_images_only_if_they_were_kept() -> None:
    assert next(iter(stream())).keys() == {"measured", "index"}
    batch = next(iter(stream(keep_clean=True)))
    assert batch.keys() == {"measured", "index", "clean", "other_clean"}
    kept = batch["measured"] != 0
    assert torch.equal(batch["measured"][kept], batch["clean"][kept])


def test_every_image_is_used() -> None:
    seen = {index for batch in islice(stream(), 20) for index in batch["index"].tolist()}
    assert seen == set(range(5))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_any_depth_become_values_up_to_1(dtype: type[np.uint8 | np.uint16]) -> None:
    white = np.full((4, 4, 3), np.iinfo(dtype).max, dtype)
    observed = observe_once([white], parse("identity"), 0, keep_clean=False)
    assert torch.equal(observed.measured, torch.ones(1, 3, 4, 4))
