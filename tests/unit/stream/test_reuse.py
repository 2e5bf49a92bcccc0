"""Tiles that stand still are not computed again, and the result has the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec
from restore_sdk.stream.frames import stream_frames
from restore_sdk.stream.reuse import ReusedTiles

SPEC = ModelSpec(name="mean", method="none", task="denoise", receptive_radius=1)


def mean_of_three(batch: np.ndarray) -> np.ndarray:
    padded = np.pad(batch, ((0, 0), (0, 0), (1, 1), (1, 1)))
    sides = padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1] + padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:]
    return np.asarray((batch + sides) / 5, np.float32)


class Counting(FunctionBackend):
    def __init__(self) -> None:
        super().__init__(SPEC, mean_of_three)
        self.computed = 0

    def infer(self, batch: np.ndarray, /) -> np.ndarray:
        self.computed += 1
        return super().infer(batch)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)


def run(frames: list[np.ndarray], workers: int = 1) -> tuple[list[np.ndarray], list[float | None], Counting]:
    inner = Counting()
    tiles = ReusedTiles(inner)
    restorer = Restorer(tiles, tile=16)
    with stream_frames(restorer.restore, frames, workers=workers, reuse=tiles) as stream:
        results = [(restored, stream.record.reused if stream.record else None) for restored in stream]
    return [restored for restored, _ in results], [share for _, share in results], inner


def test_only_what_changed_is_computed() -> None:
    first, second = noise(), noise()
    second[20, 20] ^= 255  # inside the second tile of the second row, farther than the halo from its border
    restored, shares, inner = run([first, second, second])
    assert shares == [0.0, 15 / 16, 1.0]
    assert inner.computed == 16 + 1
    plain = Restorer(FunctionBackend(SPEC, mean_of_three), tile=None)
    for image, frame in zip(restored, (first, second, second), strict=True):
        np.testing.assert_array_equal(image, plain.restore(frame))


def test_a_pixel_in_the_halo_counts() -> None:
    first, second = noise(), noise()
    second[16, 8] ^= 255  # first row of a core, and in the halo of the tile above
    restored, shares, _ = run([first, second])
    assert shares == [0.0, 14 / 16]
    np.testing.assert_array_equal(restored[1], Restorer(FunctionBackend(SPEC, mean_of_three), tile=None).restore(second))


@pytest.mark.parametrize("workers", [1, 3])
def test_moving_frames_have_the_same_bits_with_any_number_of_workers(workers: int) -> None:
    base = noise()
    frames = [base.copy() for _ in range(12)]
    for number, frame in enumerate(frames):
        frame[number, :, 0] ^= 128
    restored, _, _ = run(frames, workers)
    plain = Restorer(FunctionBackend(SPEC, mean_of_three), tile=None)
    for image, frame in zip(restored, frames, strict=True):
        np.testing.assert_array_equal(image, plain.restore(frame))


def test_a_frame_of_another_size_is_computed_anew() -> None:
    small = noise()[:32, :32]
    restored, shares, inner = run([noise(), small, small])
    assert shares == [0.0, 1 / 4, 1.0]  # the first tile, halo and all, is that of the larger frame
    assert inner.computed == 16 + 3
    assert restored[2].shape == (32, 32, 3)


def test_minus_zero_is_not_zero() -> None:
    tiles = ReusedTiles(Counting())
    zero = np.zeros((1, 3, 4, 4), np.float32)
    for batch in (zero, -zero):
        tiles.begin_frame()
        tiles.infer(batch)
    assert tiles.total_share == 0.0


def test_what_was_given_may_be_changed_afterwards() -> None:
    inner = Counting()
    tiles = ReusedTiles(inner)
    batch = np.zeros((1, 3, 4, 4), np.float32)
    tiles.begin_frame()
    tiles.infer(batch)
    batch += 1
    tiles.begin_frame()
    tiles.infer(batch)
    assert inner.computed == 2


def test_report_and_close() -> None:
    tiles = ReusedTiles(Counting())
    tiles.warm_up([(1, 3, 4, 4)])
    for _ in range(2):
        tiles.begin_frame()
        tiles.infer(np.zeros((1, 3, 4, 4), np.float32))
    assert tiles.share() == 1.0
    assert tiles.report()["reused_tiles"] == 0.5
    assert tiles.spec is SPEC
    tiles.close()
    tiles.begin_frame()
    tiles.infer(np.zeros((1, 3, 4, 4), np.float32))
    assert tiles.total_share == pytest.approx(1 / 3)
