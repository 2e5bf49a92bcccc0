"""Reach of a pixel, on filters whose answer is known on paper."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from restore_sdk.errors import ModelSpecError, OptionsError
from restore_sdk.tiling.receptive_field import ReceptiveField, probe_receptive_field, smallest_multiple

Image = NDArray[np.float32]


def shifted(image: Image, down: int, right: int) -> Image:
    """Image moved by (down, right), zeros entering."""
    moved = np.zeros_like(image)
    height, width = image.shape[2:]
    if abs(down) >= height or abs(right) >= width:
        return moved
    target = moved[:, :, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
    target[...] = image[:, :, max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)]
    return moved


def box(image: Image, radius: int) -> Image:
    span = range(-radius, radius + 1)
    return np.add.reduce([shifted(image, dy, dx) for dy in span for dx in span], dtype=np.float32)


def extents(field: ReceptiveField) -> tuple[int | None, int | None, int | None, int | None]:
    return field.up, field.down, field.left, field.right


def test_identity_reaches_nothing_but_itself() -> None:
    field = probe_receptive_field(lambda image: image, 3, 1)
    assert extents(field) == (0, 0, 0, 0)
    assert field.radius == 0
    assert not field.reaches_everything


@pytest.mark.parametrize("radius", [1, 3])
def test_box_filter_reaches_its_radius_on_all_sides(radius: int) -> None:
    assert extents(probe_receptive_field(lambda image: box(image, radius), 2, 1, first_reach=8)) == (radius,) * 4


def test_sides_are_told_apart() -> None:
    def function(image: Image) -> Image:
        return image + shifted(image, 5, 0) + shifted(image, -2, 0) + shifted(image, 0, 7) + shifted(image, 0, -1)

    field = probe_receptive_field(function, 1, 1)
    assert extents(field) == (2, 5, 1, 7)
    assert field.radius == 7


def blocks(image: Image, side: int) -> Image:
    """Every pixel becomes the mean of its side x side block: a strided convolution and its upsampling."""
    n, c, height, width = image.shape
    means = image.reshape(n, c, height // side, side, width // side, side).mean(axis=(3, 5), dtype=np.float32)
    return means.repeat(side, axis=2).repeat(side, axis=3)


def test_every_phase_counts() -> None:
    """Only the first pixel of a block of 4 reaches 3 down, only the last reaches 3 up."""
    field = probe_receptive_field(lambda image: blocks(image, 4), 1, 4)
    assert extents(field) == (3, 3, 3, 3)
    assert field.phases == (4, 4)


def test_scale_counts_in_input_pixels() -> None:
    """Doubling after a 5 x 5 box: output rows o belong to input row o // 2."""

    def function(image: Image) -> Image:
        return box(image, 2).repeat(2, axis=2).repeat(2, axis=3)

    assert probe_receptive_field(function, 1, 1, 2).radius == 2


def test_relu_hides_one_sign_only() -> None:
    """A gate that only strongly positive or strongly negative pixels open."""

    def positive(image: Image) -> Image:
        return image + shifted(np.maximum(image - 100, 0), 6, 0)

    def negative(image: Image) -> Image:
        return image + shifted(np.maximum(-image - 100, 0), 0, -4)

    assert probe_receptive_field(positive, 1, 1).down == 6
    assert probe_receptive_field(negative, 1, 1).left == 4


def test_product_with_a_neighbour_is_seen_off_black() -> None:
    """On black a product of two distant pixels is zero whatever one of them does."""
    field = probe_receptive_field(lambda image: image * shifted(image, 9, 0), 1, 1)
    assert (field.up, field.down) == (0, 9)


def test_differences_along_the_line_do_not_cancel() -> None:
    """The perturbed row is not constant, so a filter that removes constants still sees it."""
    field = probe_receptive_field(lambda image: image + shifted(image, 4, 0) - shifted(image, 4, 1), 1, 1)
    assert (field.down, field.right) == (4, 1)


def test_the_probe_grows_until_the_change_stays_inside() -> None:
    def function(image: Image) -> Image:
        return np.add.reduce([shifted(image, down, 0) for down in range(91)], dtype=np.float32)

    field = probe_receptive_field(function, 1, 1, first_reach=4)
    assert (field.down, field.radius) == (90, 90)


def test_a_leap_over_the_edge_of_the_first_probe_is_seen() -> None:
    assert probe_receptive_field(lambda image: image + shifted(image, 100, 0), 1, 1, first_reach=64).down == 100


def test_a_reach_that_just_touches_the_edge_is_not_cut_short() -> None:
    for reach in (7, 8, 9):
        assert probe_receptive_field(lambda image, r=reach: image + shifted(image, r, 0), 1, 1, first_reach=8).down == reach


def test_global_mean_reaches_everything() -> None:
    field = probe_receptive_field(lambda image: image + image.mean(axis=(2, 3), keepdims=True), 3, 2, limit=96)
    assert field.radius is None
    assert field.reaches_everything
    assert extents(field) == (None, None, None, None)


def test_one_global_axis_is_enough_to_reach_everything() -> None:
    field = probe_receptive_field(lambda image: image + image.mean(axis=3, keepdims=True), 1, 1, limit=96)
    assert extents(field) == (0, 0, None, None)
    assert field.radius is None


def test_nan_is_a_change_like_any_other() -> None:
    def function(image: Image) -> Image:
        moved = shifted(image, 2, 0)
        return np.where(np.abs(moved) > 10, np.float32(np.nan), image).astype(np.float32)

    assert probe_receptive_field(function, 1, 1).down == 2


def test_float64_outputs_keep_faint_contributions() -> None:
    """1e-12 of a neighbour vanishes in float32 beside a bright pixel, not in float64."""

    def faint(image: Image) -> NDArray[np.float64]:
        wide = image.astype(np.float64)
        return wide + 1e4 + 1e-10 * shifted(image, 3, 0)

    assert probe_receptive_field(faint, 1, 1).down == 3
    assert probe_receptive_field(lambda image: faint(image).astype(np.float32), 1, 1).down == 0


def test_a_wrong_output_shape_is_named() -> None:
    with pytest.raises(ModelSpecError, match=r"expected \(1, C, "):
        probe_receptive_field(lambda image: image[:, :, ::2], 1, 2)


@pytest.mark.parametrize("name", ["channels", "multiple", "scale"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(OptionsError) as caught:
        probe_receptive_field(lambda image: image, **{"channels": 1, "multiple": 1, "scale": 1, name: 0})
    assert caught.value.name == name


@pytest.mark.parametrize("multiple", [1, 2, 3, 4, 6, 8, 12, 16, 30, 64])
def test_smallest_multiple_finds_it(multiple: int) -> None:
    assert smallest_multiple(lambda height, width: height % multiple == 0 and width % multiple == 0) == multiple


def test_smallest_multiple_looks_at_both_axes() -> None:
    assert smallest_multiple(lambda height, width: width % 8 == 0) == 8
    assert smallest_multiple(lambda height, width: height % 4 == 0 and width % 6 == 0) == 12


def test_smallest_multiple_gives_up_with_a_typed_error() -> None:
    with pytest.raises(ModelSpecError, match=r"1\.\.64"):
        smallest_multiple(lambda height, width: False)


def test_it_loads_no_runtime() -> None:
    code = "import sys, restore_sdk.tiling.receptive_field; print({'torch', 'onnx', 'onnxruntime'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
