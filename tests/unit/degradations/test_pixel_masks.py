"""Masks: exact counts, places, values; the hand case of the UNIR objective."""

from __future__ import annotations

import math

import cv2
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from restore_sdk.degradations import (
    BrushStrokes,
    DropColumns,
    DropPatch,
    DropRows,
    GivenMask,
    KeepPatch,
    PatchBand,
    RemovePixel,
    RemovePixelChannel,
    Text,
    ThetaError,
    parse,
    seeded,
)
from restore_sdk.degradations.drawn_masks import _path
from restore_sdk.degradations.masks import Mask
from restore_sdk.degradations.parameters import Range, share_of
from restore_sdk.errors import OptionsError

FACES = torch.ones(5, 3, 64, 64)  # the size of the paper


def kept(operator: Mask, batch: Tensor = FACES, seed: int = 0) -> Tensor:
    return operator.kept(operator.sample_theta(batch, seeded(seed)))


def test_remove_pixel_keeps_410_of_4096_in_all_channels() -> None:
    operator = RemovePixel(0.9)
    theta = operator.sample_theta(FACES, seeded(0))
    y = operator.apply(FACES, theta)
    assert y.sum((2, 3)).tolist() == [[410.0] * 3] * 5
    assert torch.equal(y[:, 0], y[:, 2])


def test_remove_pixel_channel_keeps_1229_of_12288_values_in_every_image() -> None:
    mask = kept(RemovePixelChannel(0.9))
    assert mask.sum((1, 2, 3)).tolist() == [1229] * 5
    whole = mask.all(1).sum((1, 2))  # pixels with all three channels: 4096 / 1000 are expected
    assert whole.float().mean() < 4.1 + 5 * math.sqrt(4.1 / 5)


@pytest.mark.parametrize("operator", [RemovePixel(Range(0.25, 0.75)), RemovePixelChannel(Range(0.25, 0.75))])
def test_a_range_gives_each_image_a_share_of_its_own(operator: RemovePixel) -> None:
    faces = torch.ones(200, 3, 16, 16)
    counts = (~kept(operator, faces)).sum((1, 2, 3))
    shares = counts / (~kept(operator, faces))[0].numel()
    assert shares.min() >= 0.25 - 1e-2
    assert shares.max() <= 0.75
    assert abs(shares.mean() - 0.5) < 5 * 0.5 / math.sqrt(12 * 200)  # five standard errors of the mean
    assert len(set(counts.tolist())) > 20
    single = kept(operator, faces[:1], seed=3)
    assert torch.equal(single, kept(operator, faces[:1], seed=3))


@pytest.mark.parametrize(("axis", "other"), [("rows", 3), ("columns", 2)])
def test_patch_band_removes_19_of_64_side_by_side(axis: str, other: int) -> None:
    lines = kept(PatchBand(0.3, axis)).all(other)[:, 0]
    assert (~lines).sum(1).tolist() == [19] * 5
    assert (lines.int().diff(dim=1).abs().sum(1) <= 2).all()


@pytest.mark.parametrize("operator", [KeepPatch(), DropPatch()])
def test_patches_are_32_of_64(operator: Mask) -> None:
    mask = kept(operator) if type(operator) is KeepPatch else ~kept(operator)
    assert mask.any(3).sum((1, 2)).tolist() == [32] * 5
    assert mask.any(2).sum((1, 2)).tolist() == [32] * 5
    assert mask.sum((1, 2, 3)).tolist() == [1024] * 5


@pytest.mark.parametrize("operator", [PatchBand(0.25), KeepPatch(0.75), DropPatch(0.5)])
def test_every_place_is_drawn_alike(operator: Mask) -> None:
    masks = kept(operator, torch.zeros(4000, 1, 8, 8))
    starts = masks[:, 0].flatten(1).float() @ torch.rand(64, generator=seeded(1))
    counts = starts.unique(return_counts=True)[1]
    places = {PatchBand: 7, KeepPatch: 9, DropPatch: 25}[type(operator)]
    assert len(counts) == places
    expected = 4000 / places
    assert (counts - expected).abs().max() < 5 * math.sqrt(expected)


@pytest.mark.parametrize(("operator", "other"), [(DropRows(0.5), 3), (DropColumns(0.5), 2)])
def test_lines_are_dropped_whole(operator: Mask, other: int) -> None:
    mask = kept(operator, torch.zeros(4, 3, 31, 31))
    assert torch.equal(mask.any(other), mask.all(other))
    assert mask.any(other).sum((1, 2)).tolist() == [31 - 15] * 4


@pytest.mark.parametrize("operator", [RemovePixel(0.3, bernoulli=True), RemovePixelChannel(0.3, bernoulli=True)])
def test_bernoulli_counts(operator: Mask) -> None:
    mask = kept(operator, torch.zeros(50, 2, 64, 64))
    counts = mask.sum((1, 2, 3)).double()
    total = mask[0].numel()
    spread = math.sqrt(total * 0.3 * 0.7)
    assert abs(counts.mean() - 0.7 * total) < 5 * spread / math.sqrt(50)
    assert 0.5 * spread < counts.std() < 1.5 * spread


def test_places_are_uniform() -> None:
    """2000 masks of exactly half the pixels: each pixel is kept binomially often."""
    often = kept(RemovePixel(0.5), torch.zeros(2000, 1, 8, 8)).sum(0)
    assert (often - 1000).abs().max() < 5 * math.sqrt(500)


@given(st.integers(0, 1000), st.integers(0, 5000))
def test_share_is_the_decimal_number_that_is_written(thousandths: int, count: int) -> None:
    assert share_of(thousandths / 1000, count) == thousandths * count // 1000


def test_rescaling_keeps_the_mean() -> None:
    x = torch.full((1, 1, 10, 10), 0.4)
    operator = RemovePixel(0.75, rescale=True)
    y = operator.apply(x, operator.sample_theta(x, seeded(0)))
    assert sorted(set(y.flatten().tolist())) == pytest.approx([0, 1.6])
    assert y.mean().item() == pytest.approx(0.4)


def test_fill_is_the_grey_of_signed_references() -> None:
    x = torch.rand(1, 1, 4, 4, generator=seeded(0))
    operator = RemovePixel(0.5, fill=0.5)
    y = operator.apply(x, operator.sample_theta(x, seeded(0)))
    assert (y == 0.5).sum() == 8


def test_the_unir_loss_by_hand() -> None:
    """y = [2, 0], the mask keeps the first pixel, G(v) = v + 1, D = 1/2: L_G = 0.25 + 2 * 0.5 = 1.25."""
    y = torch.tensor([2.0, 0.0]).view(1, 1, 1, 2)
    operator = GivenMask()
    theta = operator.theta_from_mask(torch.tensor([True, False]), y)
    measured = operator.apply(y + 1, theta)
    again = operator.apply(measured + 1, theta)
    assert measured.flatten().tolist() == [3, 0]
    assert again.flatten().tolist() == [4, 0]
    assert (0.5 - 1) ** 2 + 2 * (again - measured).square().mean().item() == 1.25


def test_gradient_flows_through_both_passes_by_hand() -> None:
    """G(v) = a v, y = 2 in the kept pixel: the loss (a a 2 - [a 2])^2 / 2, its target held, has d/da = (4 a)(2 a^2 - 2 a)."""
    a = torch.tensor(3.0, requires_grad=True)
    y, operator = torch.tensor([2.0, 5.0]).view(1, 1, 1, 2), GivenMask()
    theta = operator.theta_from_mask(torch.tensor([True, False]), y)
    measured = operator.apply(a * y, theta)
    (operator.apply(a * measured, theta) - measured.detach()).square().mean().backward()
    assert a.grad is not None
    assert a.grad.item() == pytest.approx(4 * 3 * (2 * 9 - 2 * 3))


def test_a_lost_pixel_may_be_nan() -> None:
    x = torch.tensor([[[[1.0, torch.nan]]]], requires_grad=True)
    operator = GivenMask()
    y = operator.apply(x, operator.theta_from_mask(torch.tensor([True, False]), x.detach()))
    y.sum().backward()
    assert y.flatten().tolist() == [1, 0]
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("mask", "message"), [(torch.ones(4, 4), "torch.bool"), (torch.ones(3, 4, dtype=torch.bool), "does not fit")]
)
def test_masks_that_do_not_fit(mask: Tensor, message: str) -> None:
    with pytest.raises(ThetaError, match=message):
        GivenMask().theta_from_mask(mask, torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize("operator", [BrushStrokes(), Text()])
def test_drawings_cover_a_part_and_differ(operator: Mask) -> None:
    mask = kept(operator, torch.zeros(8, 3, 96, 128))
    lost = 1 - mask.float().mean((1, 2, 3))
    assert (lost > 0.005).all()
    assert (lost < 0.6).all()
    assert len({tuple(image.flatten().tolist()) for image in mask}) == 8


@pytest.mark.parametrize(
    ("fewer", "more"), [("strokes=1", "strokes=20"), ("width=0.02", "width=0.2"), ("length=0.2", "length=3")]
)
def test_brush_parameters(fewer: str, more: str) -> None:
    few, many = (kept(parse(f"brush-strokes:{word}")).float().mean() for word in (fewer, more))
    assert few > many


def test_a_stroke_keeps_its_step_and_turns_little() -> None:
    numbers = torch.rand(9, generator=seeded(2)).numpy()
    steps = torch.from_numpy(_path(numbers, 1000, 1000, 100.0)).double().diff(dim=0)
    assert steps.norm(dim=1).tolist() == pytest.approx([100] * len(steps), abs=1.5)  # corners are whole pixels
    turns = torch.cosine_similarity(steps[:-1], steps[1:]).arccos()
    assert (turns < 0.9 + 0.03).all()


def test_letters_have_about_their_height() -> None:
    lost = ~kept(Text(height=0.1, spacing=3), torch.zeros(1, 1, 300, 300))[0, 0]
    count, _, boxes, _ = cv2.connectedComponentsWithStats(lost.numpy().astype("uint8"))
    heights = torch.tensor(boxes[1:, cv2.CC_STAT_HEIGHT])
    assert count > 10
    assert 15 < heights.median() < 45  # 30, less for small letters, which OpenCV 5 draws smaller still


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1))
def test_shares_from_nothing_to_all(height: int, width: int, share: float) -> None:
    x = torch.ones(2, 1, height, width)
    for operator in (RemovePixel(share), PatchBand(share), KeepPatch(share), DropPatch(share), DropRows(share)):
        lost = ~kept(operator, x)
        assert lost.flatten(1).sum(1).unique().numel() == 1
    assert kept(RemovePixel(share), x)[0].sum() == height * width - share_of(share, height * width)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RemovePixel(1.5),
        lambda: RemovePixel(-0.1),
        lambda: RemovePixel(math.nan),
        lambda: RemovePixel(True),
        lambda: RemovePixel(1.0, rescale=True),
        lambda: RemovePixel(Range(0.1, 0.5), rescale=True),
        lambda: RemovePixel(Range(0.5, 0.1)),
        lambda: RemovePixel(Range(0.5, 1.1)),
        lambda: RemovePixel(fill=2),
        lambda: PatchBand(axis="diagonal"),
        lambda: BrushStrokes(strokes=-1),
        lambda: BrushStrokes(strokes=1.5),
        lambda: Text(spacing=0),
    ],
)
def test_parameters_out_of_range(make: object) -> None:
    with pytest.raises(OptionsError):
        make()  # type: ignore[operator]
