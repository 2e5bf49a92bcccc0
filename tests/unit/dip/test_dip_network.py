"""The networks of the paper: their size, their independence side by side, and the two forms of resampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from restore_sdk.degradations import seeded
from restore_sdk.degradations.borders import mirrored_by_slices
from restore_sdk.dip import resampling
from restore_sdk.dip.inputs import Inputs, canvas, first_input
from restore_sdk.dip.network import SkipNetwork, build, parameter_count
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.presets import PRESETS, Preset, chosen_preset, narrowed
from restore_sdk.errors import OptionsError

CPU = torch.device("cpu")
TINY = Preset(down=(4, 6), up=(4, 6), skip=(2, 0), input_depth=3)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("denoise", 2_217_831),
        ("super-resolve-4", 2_217_831),
        ("super-resolve-8", 2_217_831),
        ("dejpeg", 572_827),
        ("inpaint", 3_002_627),
        ("inpaint-hole", 2_157_955),
        ("inpaint-strokes", 2_996_467),
        ("inpaint-sparse", 1_027_379),
    ],
)
def test_parameter_counts_of_the_paper(name: str, count: int) -> None:
    with torch.device("meta"):
        assert parameter_count(SkipNetwork(PRESETS[name])) == count


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_an_image_of_its_input(name: str) -> None:
    preset = narrowed(PRESETS[name], "draft")
    side = preset.smallest_side
    network = build(preset, 1, [seeded(0)], CPU)
    with torch.no_grad():
        made = network(first_input(preset, (side, side), seeded(1)))
    assert made.shape == (1, 1, side, side)
    assert 0 < made.min() < made.max() < 1


def test_narrowing_divides_wide_layers_and_leaves_narrow_ones() -> None:
    assert narrowed(PRESETS["denoise"], "draft").down == (32,) * 5
    assert narrowed(PRESETS["denoise"], "draft").skip == (4,) * 5
    assert narrowed(PRESETS["inpaint"], "balanced").skip == (64,) * 5
    assert narrowed(PRESETS["inpaint-hole"], "draft").skip == (0,) * 5
    assert narrowed(PRESETS["dejpeg"], "quality") == PRESETS["dejpeg"]


def test_options_change_the_preset() -> None:
    preset = chosen_preset("dip-super-resolve", DipOptions(scale=8, max_iterations=7, learning_rate=0.5, width="quality"))
    assert (preset.iterations, preset.learning_rate, preset.input_noise) == (7, 0.5, 0.05)
    with pytest.raises(OptionsError, match="preset='paper'"):
        chosen_preset("dip-denoise", DipOptions(preset="paper"))


def test_copies_answer_as_each_alone() -> None:
    z = torch.rand((1, 6, 16, 16), generator=seeded(3))
    both = build(TINY, 3, [seeded(0, 0), seeded(0, 1)], CPU)
    for copy in range(2):
        alone = build(TINY, 3, [seeded(0, copy)], CPU)
        with torch.no_grad():
            expected, found = alone(z[:, 3 * copy : 3 * copy + 3]), both(z)[:, 3 * copy : 3 * copy + 3]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (build(TINY, 3, [seeded(9)], CPU) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_weights_have_the_spread_of_pytorch() -> None:
    network = build(narrowed(PRESETS["denoise"], "draft"), 3, [seeded(0)], CPU)
    weight = network.scales.deepen.convolution.weight.detach()  # type: ignore[union-attr]
    bound = (32 * 9) ** -0.5
    assert weight.abs().max() <= bound
    assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.05)


@pytest.mark.parametrize("margin", [1, 2])
def test_mirrored_slices_are_the_kernel(margin: int) -> None:
    x = torch.rand((2, 3, 5, 7), dtype=torch.float64)
    by_slices = mirrored_by_slices(mirrored_by_slices(x, margin, 2), margin, 3)
    assert torch.equal(by_slices, functional.pad(x, (margin,) * 4, mode="reflect"))


def test_doubled_slices_are_the_kernel() -> None:
    x = torch.rand((2, 3, 5, 1), dtype=torch.float64)
    bilinear = resampling._doubled_axis(resampling._doubled_axis(x, 2), 3)
    torch.testing.assert_close(bilinear, resampling.doubled(x, "bilinear"))
    assert torch.equal(resampling._doubled_nearest(x), resampling.doubled(x, "nearest"))


def test_doubled_by_hand() -> None:
    row = torch.tensor([[[[0.0, 1.0]]]])
    assert resampling.doubled(row, "bilinear")[0, 0, 0].tolist() == [0.0, 0.25, 0.75, 1.0]
    assert resampling.doubled(row, "nearest")[0, 0, 1].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_canvas_holds_the_image_in_multiples() -> None:
    preset = PRESETS["denoise"]
    assert canvas(1, 65, preset) == (64, 96)
    assert canvas(64, 256, preset) == (64, 256)


def test_inputs_are_uniform_and_their_noise_is_each_images_own() -> None:
    settings = {"seed": 0, "device": CPU}
    noisy = Preset(input_depth=3, input_noise=0.03)
    two = Inputs(noisy, (8, 8), [seeded(0, 0), seeded(0, 1)], indices=[0, 1], **settings)  # type: ignore[arg-type]
    second = Inputs(noisy, (8, 8), [seeded(0, 1)], indices=[1], **settings)  # type: ignore[arg-type]
    assert 0 <= two.given.min() < two.given.max() <= 0.1
    for _ in range(2):
        two.draw()
        second.draw()
    assert torch.equal(two.given[:, 3:], second.given)
    two.keep([1])
    two.draw()
    second.draw()
    assert torch.equal(two.given, second.given)


@pytest.mark.parametrize(("size", "halved"), [((64, 96), (64, 64)), ((288, 480), (160, 256)), ((128, 64), (64, 64))])
def test_half_the_input_is_what_the_network_takes(size: tuple[int, int], halved: tuple[int, int]) -> None:
    preset = PRESETS["denoise"]
    inputs = Inputs(preset, size, [seeded(0)], seed=0, indices=[0], device=CPU)
    pooled = functional.avg_pool2d(inputs.given, 2).numpy()
    missing = [(0, whole - side) for whole, side in zip(halved, pooled.shape[2:], strict=True)]
    assert halved == canvas(*halved, preset)
    assert np.array_equal(inputs.half().numpy(), np.pad(pooled, [(0, 0), (0, 0), *missing], mode="reflect"))


def test_meshgrid_holds_the_coordinates() -> None:
    z = first_input(PRESETS["inpaint-hole"], (2, 3), seeded(0))
    assert z[0, 0].tolist() == [[0, 0.5, 1], [0, 0.5, 1]]
    assert z[0, 1].tolist() == [[0, 0, 0], [1, 1, 1]]
