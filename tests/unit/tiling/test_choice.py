"""Which plan is chosen, by hand: S = 4, R = 11 (exact halo 12), k = 1024 bytes per pixel, so 1 MiB holds 1024 pixels."""

import dataclasses
import gc
import warnings
import weakref

import pytest

from restore_sdk.errors import RestoreWarning, TilingError
from restore_sdk.options import TileOptions
from restore_sdk.spec import ModelSpec
from restore_sdk.tiling.choice import DEFAULT_BYTES_PER_PIXEL, Planner, round_up

SPEC = ModelSpec(name="n", method="m", task="denoise", size_multiple=4, receptive_radius=11, fast_halo=5, bytes_per_pixel=1024.0)
GLOBAL = dataclasses.replace(SPEC, receptive_radius=None, global_ops=("mean_3", "norm_1"), fast_halo=None)
ONE_MIB = TileOptions(memory_mb=1)


def test_whole_where_tiling_is_off_whatever_the_size() -> None:
    plan = Planner(SPEC).plan(3001, 4001, None)
    assert (plan.count, plan.height, plan.width) == (1, 3004, 4004)


@pytest.mark.parametrize(
    ("height", "width", "whole"), [(32, 32, True), (29, 31, True), (32, 33, False), (8, 128, True), (8, 129, False)]
)
def test_whole_where_the_padded_image_fits_the_memory(height: int, width: int, whole: bool) -> None:
    assert (Planner(SPEC).plan(height, width, ONE_MIB).count == 1) is whole


def test_tiles_fit_the_memory_with_the_exact_halo() -> None:
    plan = Planner(SPEC).plan(100, 100, ONE_MIB)
    assert plan.halo == 12
    assert plan.count > 1
    assert plan.largest_tile[0] * plan.largest_tile[1] <= 1024


def test_a_batch_shares_the_memory() -> None:
    plan = Planner(SPEC).plan(200, 200, TileOptions(memory_mb=4, batch=4))
    assert plan.largest_tile[0] * plan.largest_tile[1] * 4 <= 4 * 1024


@pytest.mark.parametrize(
    ("core", "side", "count"), [(16, 16, 1), (16, 13, 1), (16, 17, 4), (18, 16, 1), (18, 17, 4), (64, 64, 1), (64, 65, 4)]
)
def test_core_is_rounded_down_to_the_multiple(core: int, side: int, count: int) -> None:
    assert Planner(SPEC).plan(side, side, TileOptions(core=core)).count == count


def test_core_smaller_than_the_multiple_is_one_multiple() -> None:
    coarse = dataclasses.replace(SPEC, size_multiple=32)
    assert Planner(coarse).plan(32, 32, TileOptions(core=16)).count == 1
    assert Planner(coarse).plan(64, 32, TileOptions(core=16)).count == 2


@pytest.mark.parametrize(("fast_halo", "halo"), [(5, 8), (0, 0), (None, 12), (400, 12)])
def test_fast_halo_is_the_stated_one_but_never_more_than_the_exact(fast_halo: int | None, halo: int) -> None:
    planner = Planner(dataclasses.replace(SPEC, fast_halo=fast_halo))
    assert planner.plan(100, 100, TileOptions(mode="fast", core=32)).halo == halo


def test_zero_radius_needs_no_halo() -> None:
    assert Planner(dataclasses.replace(SPEC, receptive_radius=0)).plan(100, 100, TileOptions(core=32)).halo == 0


def test_memory_of_a_model_that_states_none() -> None:
    unknown = dataclasses.replace(SPEC, bytes_per_pixel=None)
    assert DEFAULT_BYTES_PER_PIXEL == 1024
    assert Planner(unknown).plan(32, 32, ONE_MIB).count == 1
    assert Planner(unknown).plan(36, 32, ONE_MIB).count > 1


@pytest.mark.parametrize("options", [ONE_MIB, TileOptions(core=16)])
def test_global_layers_are_refused_by_name_only_where_tiles_are_needed(options: TileOptions) -> None:
    planner = Planner(GLOBAL)
    assert planner.plan(16, 16, options).count == 1
    assert planner.plan(1000, 1024, None).count == 1
    with pytest.raises(
        TilingError, match=r'mean_3, norm_1 read\(s\) the whole image; pass tile="fast".*tile=None.*1000 MiB'
    ) as caught:
        planner.plan(1000, 1024, options)
    assert caught.value.layers == ("mean_3", "norm_1")


def test_unknown_radius_is_refused_too() -> None:
    unnamed = dataclasses.replace(GLOBAL, global_ops=())
    with pytest.raises(TilingError, match="layers that its spec does not name"):
        Planner(unnamed).plan(100, 100, ONE_MIB)


def test_a_global_layer_outweighs_a_stated_radius() -> None:
    with pytest.raises(TilingError, match="mean_3"):
        Planner(dataclasses.replace(GLOBAL, receptive_radius=11)).plan(100, 100, ONE_MIB)


@pytest.mark.parametrize(
    ("changes", "halo", "says"),
    [
        ({}, 64, "mean_3, norm_1 .* error of unknown size"),
        ({"fast_halo": 18, "fast_error": 0.0125}, 20, r"mean_3, norm_1 .* error of up to 0\.0125 \(measured\)"),
    ],
)
def test_fast_tiles_of_a_global_network_warn(changes: dict, halo: int, says: str) -> None:
    with pytest.warns(RestoreWarning, match=says):
        plan = Planner(dataclasses.replace(GLOBAL, **changes)).plan(1000, 1000, TileOptions(mode="fast", core=256))
    assert plan.halo == halo


def test_no_warning_where_nothing_is_cut() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Planner(GLOBAL).plan(64, 64, TileOptions(mode="fast", core=64))
        Planner(SPEC).plan(640, 64, TileOptions(mode="fast", core=64))


def test_plans_are_remembered_for_a_bounded_number_of_shapes() -> None:
    planner = Planner(SPEC)
    assert planner.plan(100, 100, ONE_MIB) is planner.plan(100, 100, TileOptions(memory_mb=1))
    for width in range(1, 200):
        planner.plan(8, width, None)
    assert planner.plan.cache_info().currsize == 64


def test_planner_is_freed() -> None:
    planner = Planner(SPEC)
    planner.plan(8, 8, None)
    gone = weakref.ref(planner)
    del planner
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(("length", "multiple", "rounded"), [(0, 4, 0), (1, 4, 4), (4, 4, 4), (11, 4, 12), (7, 1, 7)])
def test_round_up(length: int, multiple: int, rounded: int) -> None:
    assert round_up(length, multiple) == rounded
