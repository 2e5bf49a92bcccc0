from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_sdk.errors import BackendError, OptionsError
from restore_sdk.tiling.plan import Span, TilePlan, plan_tiles, plan_whole, split_axis
from restore_sdk.tiling.walk import FloatNCHW, walk

Network = Callable[[FloatNCHW], FloatNCHW]


def box(x: FloatNCHW) -> FloatNCHW:
    """A 3 x 3 convolution with unequal weights and zero padding: R = 1, S = 1."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = x.shape[2:]
    total = np.zeros_like(x)
    for row in range(3):
        for column in range(3):
            total += np.float32(0.07 + 0.01 * row + 0.003 * column) * padded[:, :, row : row + height, column : column + width]
    return total


def hourglass(x: FloatNCHW) -> FloatNCHW:
    """Convolve, halve by subsampling, convolve, double by repetition, add the skip: R = 4, S = 2."""
    fine = box(x)
    coarse = box(np.maximum(fine, 0)[:, :, ::2, ::2])
    doubled = coarse.repeat(2, axis=2).repeat(2, axis=3)[:, :, : x.shape[2], : x.shape[3]]
    return fine + doubled


def enlarge(x: FloatNCHW) -> FloatNCHW:
    """Convolve, then make 3 x 3 unequal pixels of each: R = 1, S = 1, scale 3."""
    ramp = np.arange(9, dtype=np.float32).reshape(3, 3)
    return np.kron(box(x), ramp).astype(np.float32)


def run(
    network: Network, image: FloatNCHW, plan: TilePlan, *, scale: int = 1, batch: int = 1, order: Sequence[int] | None = None
) -> FloatNCHW:
    height, width = image.shape[2:]
    canvas = np.full((1, image.shape[1], height * scale, width * scale), np.nan, np.float32)

    def write(row: Span, column: Span, core: FloatNCHW) -> None:
        rows = slice(row.core_start * scale, row.core_stop * scale)
        columns = slice(column.core_start * scale, column.core_stop * scale)
        assert np.isnan(canvas[:, :, rows, columns]).all(), "a pixel is written twice"
        canvas[:, :, rows, columns] = core

    walk(
        plan,
        lambda row, column: image[:, :, row.outer_slice, column.outer_slice],
        network,
        write,
        batch=batch,
        scale=scale,
        order=order,
    )
    return canvas


def noise(height: int, width: int) -> FloatNCHW:
    return np.random.default_rng(height * 1000 + width).normal(size=(1, 2, height, width)).astype(np.float32)


SIDES = st.integers(1, 24)


@settings(deadline=None)
@given(SIDES, SIDES, st.integers(1, 20), st.integers(0, 2), st.integers(1, 4), st.randoms(use_true_random=False))
def test_tiles_have_the_bits_of_the_whole_image(
    rows: int, columns: int, core: int, extra: int, batch: int, random: object
) -> None:
    for network, radius, stride, scale in ((box, 1, 1, 1), (hourglass, 4, 2, 1), (enlarge, 1, 1, 3)):
        image = noise(rows * stride, columns * stride)
        plan = plan_tiles(*image.shape[2:], core=core, halo=radius + extra * stride, multiple=stride)
        order = list(range(plan.count))
        random.shuffle(order)  # type: ignore[attr-defined]
        tiled = run(network, image, plan, scale=scale, batch=batch, order=order)
        assert tiled.tobytes() == network(image).tobytes()


@pytest.mark.parametrize(("network", "halo", "stride"), [(box, 0, 1), (hourglass, 2, 2)])
def test_a_halo_below_the_radius_differs(network: Network, halo: int, stride: int) -> None:
    image = noise(24, 24)
    tiled = run(network, image, plan_tiles(24, 24, core=8, halo=halo, multiple=stride))
    assert not np.array_equal(tiled, network(image))


def test_a_tile_that_starts_off_the_stride_differs_whatever_its_halo() -> None:
    image = noise(24, 24)
    for halo in (5, 7):
        middle = Span(8, 16, 8 - halo, 24)
        rows = (Span(0, 8, 0, 24), middle, Span(16, 24, 0, 24))
        tiled = run(hourglass, image, TilePlan(24, 24, halo, rows, split_axis(24, 1, 0, 2)))
        whole = hourglass(image)
        assert not np.array_equal(tiled[:, :, 8:16], whole[:, :, 8:16])
        assert np.array_equal(tiled[:, :, :8], whole[:, :, :8])
        assert np.array_equal(tiled[:, :, 16:], whole[:, :, 16:])


def test_only_consecutive_tiles_of_one_outer_shape_share_a_batch() -> None:
    plan = plan_tiles(8, 20, core=4, halo=1, multiple=1)  # columns: 5 outer, then three of 6, then 5; rows: 5 and 5
    seen: list[tuple[int, ...]] = []

    def network(x: FloatNCHW) -> FloatNCHW:
        seen.append(x.shape)
        return box(x)

    image = noise(8, 20)
    tiled = run(network, image, plan, batch=2)
    assert [(shape[0], shape[3]) for shape in seen] == [(1, 5), (2, 6), (1, 6), (2, 5), (2, 6), (1, 6), (1, 5)]
    assert np.array_equal(tiled, box(image))


def test_progress_counts_every_tile_once() -> None:
    calls: list[tuple[int, int]] = []
    plan = plan_tiles(8, 12, core=4, halo=1, multiple=1)
    image = noise(8, 12)
    walk(
        plan,
        lambda row, column: image[:, :, row.outer_slice, column.outer_slice],
        box,
        lambda row, column, core: None,
        batch=3,
        on_tile=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(done, 6) for done in range(1, 7)]


def test_order_decides_who_comes_first() -> None:
    plan = plan_tiles(8, 8, core=4, halo=0, multiple=4)
    image = noise(8, 8)
    written: list[tuple[int, int]] = []
    walk(
        plan,
        lambda row, column: image[:, :, row.outer_slice, column.outer_slice],
        box,
        lambda row, column, core: written.append((row.core_start, column.core_start)),
        order=[3, 0, 2, 1],
    )
    assert written == [(4, 4), (0, 0), (4, 0), (0, 4)]


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 2, 2], [1, 2, 3, 4], []])
def test_an_order_that_is_no_permutation_is_refused(order: list[int]) -> None:
    with pytest.raises(OptionsError, match="exactly once"):
        run(box, noise(8, 8), plan_tiles(8, 8, core=4, halo=0, multiple=4), order=order)


@pytest.mark.parametrize(
    "network",
    [enlarge, lambda x: x[:, :, :-1], lambda x: x[0], lambda x: np.concatenate([x, x])],
    ids=["scale", "short", "3-d", "batch"],
)
def test_an_output_of_another_shape_is_a_typed_error(network: Network) -> None:
    with pytest.raises(BackendError, match="size_multiple and scale"):
        run(network, noise(8, 8), plan_whole(8, 8, multiple=1))


@pytest.mark.parametrize("name", ["batch", "scale"])
def test_batch_and_scale_start_at_one(name: str) -> None:
    with pytest.raises(OptionsError) as caught:
        run(box, noise(8, 8), plan_whole(8, 8, multiple=1), **{name: 0})  # type: ignore[arg-type]
    assert caught.value.name == name
