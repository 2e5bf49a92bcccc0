"""Tiles through ONNX Runtime: the same bits as the whole image, and what happens where that cannot be."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.errors import OptionsError, RestoreWarning, TilingError
from restore_sdk.options import TileOptions
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

SIZES = {
    "prime": (101, 97),
    "one pixel over two cores": (65, 33),
    "exactly two cores": (64, 32),
    "one pixel under": (63, 31),
    "tall": (301, 9),
    "wide": (5, 290),
    "smaller than a tile": (13, 11),
    "one pixel": (1, 1),
    "a row": (1, 200),
}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 0.4, shape).astype(np.float32)


@pytest.fixture(scope="module")
def exact(small_model: Path) -> Restorer:
    """Never clips, so that every bit of the network's answer is compared."""
    return Restorer(small_model, device="cpu", threads=1, clip=False)


def test_stated_radius_is_the_true_one(exact: Restorer, small_spec: ModelSpec) -> None:
    backend, center = exact._backend, 40
    reach = 0
    for phase in range(small_spec.size_multiple):
        changed = noise(1, 3, 80, 80)
        before = backend.infer(changed)
        changed[..., center + phase, center + phase] += 1000
        where = np.argwhere((backend.infer(changed) != before).any(axis=(0, 1)))
        reach = max(reach, int(np.abs(where - center - phase).max()))
    assert reach == small_spec.receptive_radius == 11


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("core", [16, 32])
def test_exact_tiles_have_the_bits_of_the_whole(exact: Restorer, size: tuple[int, int], core: int) -> None:
    image = noise(*size, 3)
    np.testing.assert_array_equal(exact(image, tile=core), exact(image, tile=None))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 120), width=st.integers(1, 120), core=st.integers(16, 80), batch=st.integers(1, 3))
def test_exact_tiles_for_any_size(exact: Restorer, height: int, width: int, core: int, batch: int) -> None:
    image = noise(height, width, seed=height * width)
    tiled = exact(image, tile=TileOptions(core=core, batch=batch))
    np.testing.assert_array_equal(tiled, exact(image, tile=None))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_exact_tiles_of_integers_with_alpha(exact: Restorer, dtype: str) -> None:
    image = (np.random.default_rng(3).random((70, 53, 4)) * np.iinfo(dtype).max).astype(dtype)
    np.testing.assert_array_equal(exact(image, tile=16), exact(image, tile=None))


def test_memory_decides_whether_auto_cuts(exact: Restorer) -> None:
    image = noise(200, 200, 3)
    whole = exact(image, tile="auto")
    assert exact.report()["last_plan"]["tiles"] == 1
    tiled = exact(image, tile=TileOptions(memory_mb=1))  # 64 bytes per pixel: 16384 pixels
    plan = exact.report()["last_plan"]
    assert plan["tiles"] > 1
    assert plan["halo"] == 12
    assert plan["largest_tile"][0] * plan["largest_tile"][1] <= 16384
    np.testing.assert_array_equal(tiled, whole)


def test_shorter_halo_differs(exact: Restorer) -> None:
    """The test above can fail: a halo of less than R shows."""
    image = noise(64, 64, 3)
    fast = exact(image, tile=TileOptions(mode="fast", core=16))
    assert exact.report()["last_plan"]["halo"] == 4
    difference = np.abs(fast - exact(image, tile=None))
    assert 0 < difference.max() < 1


def test_fast_differs_near_cuts_only(exact: Restorer) -> None:
    image = noise(64, 64, 3)
    difference = (exact(image, tile=TileOptions(mode="fast", core=32)) != exact(image, tile=None)).any(axis=2)
    rows, columns = np.nonzero(difference)
    assert len(rows)
    near_row_cut = np.abs(rows - 31.5) <= 11 - 4 + 0.5
    near_column_cut = np.abs(columns - 31.5) <= 11 - 4 + 0.5
    assert (near_row_cut | near_column_cut).all()


def test_tile_order_and_number_are_told(exact: Restorer) -> None:
    told = []
    exact(noise(64, 32, 3), tile=16, on_tile=lambda done, total: told.append((done, total)))
    assert told == [(i, 8) for i in range(1, 9)]
    exact(noise(8, 8, 3), on_tile=lambda done, total: told.append((done, total)))
    assert told[-1] == (1, 1)


def test_error_in_a_callback_reaches_the_caller(exact: Restorer) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exact(noise(64, 32, 3), tile=16, on_tile=stop)


@pytest.mark.parametrize("tile", [15, "whole", 0.5])
def test_unknown_tile(small_model: Path, exact: Restorer, tile: object) -> None:
    with pytest.raises(OptionsError):
        exact(noise(8, 8, 3), tile=tile)
    with pytest.raises(OptionsError):
        Restorer(small_model, tile=tile)


def test_constructor_sets_the_tiles(small_model: Path) -> None:
    with Restorer(small_model, device="cpu", threads=1, tile=16) as restorer:
        restorer(noise(32, 32, 3))
        assert restorer.report()["last_plan"]["tiles"] == 4
        restorer(noise(32, 32, 3), tile=None)
        assert restorer.report()["last_plan"]["tiles"] == 1


GLOBAL = ModelSpec(
    name="g", method="m", task="denoise", size_multiple=4, global_ops=("ReduceMean_3",), fast_error=0.02, bytes_per_pixel=64.0
)


def subtract_mean(batch: np.ndarray) -> np.ndarray:
    return batch - batch.mean(axis=(2, 3), keepdims=True)


@pytest.mark.parametrize("tile", [16, TileOptions(memory_mb=1)])
def test_global_layers_are_refused_by_name(tile: int | TileOptions) -> None:
    restorer = Restorer(FunctionBackend(GLOBAL, subtract_mean))
    with pytest.raises(TilingError, match=r"ReduceMean_3 read\(s\) the whole image") as caught:
        restorer(noise(200, 200, 3), tile=tile)
    assert caught.value.layers == ("ReduceMean_3",)


@pytest.mark.parametrize("tile", [None, "auto", 512])
def test_global_layers_are_fine_on_the_whole_image(tile: int | str | None) -> None:
    image = noise(20, 20, 3)
    restored = Restorer(FunctionBackend(GLOBAL, subtract_mean), clip=False)(image, tile=tile)
    np.testing.assert_allclose(restored, image - image.mean(axis=(0, 1)), atol=1e-6)


def test_global_layers_in_fast_tiles_warn_with_the_measured_error() -> None:
    restorer = Restorer(FunctionBackend(GLOBAL, subtract_mean), clip=False)
    with pytest.warns(RestoreWarning, match=r"ReduceMean_3 .* up to 0\.02"):
        restored = restorer(noise(300, 300, 3), tile=TileOptions(mode="fast", core=64))
    assert restorer.report()["last_plan"]["halo"] == 64
    assert restored.shape == (300, 300, 3)


def test_random_small_images_in_sequence_do_not_disturb_each_other(exact: Restorer) -> None:
    sizes = np.random.default_rng(5).integers(1, 61, (30, 2)).tolist()
    first = [exact(noise(*size, 3, seed=i), tile=16) for i, size in enumerate(sizes)]
    again = [exact(noise(*size, 3, seed=i), tile=None) for i, size in reversed(list(enumerate(sizes)))]
    for tiled, whole in zip(first, reversed(again), strict=True):
        np.testing.assert_array_equal(tiled, whole)


def test_spec_with_a_radius_too_small_would_show(small_model: Path) -> None:
    """Exactness rests on the stated radius: with a false one the result differs."""
    honest = Restorer(small_model, device="cpu", threads=1, clip=False)
    false = dataclasses.replace(honest.spec, receptive_radius=4)
    lying = Restorer(FunctionBackend(false, honest._backend.infer), clip=False)
    image = noise(64, 64, 3)
    assert not np.array_equal(lying(image, tile=16), honest(image, tile=16))
