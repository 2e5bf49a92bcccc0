"""Restorer.stream: what stream_frames promises, on a Restorer."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from restore_sdk.errors import OptionsError, RestorerClosedError
from restore_sdk.restorer import Restorer
from restore_sdk.stream.errors import StreamError


def frames(count: int) -> list[NDArray[np.uint8]]:
    return [np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8) for seed in range(count)]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_as_one_by_one_and_in_order(restorer: Restorer, workers: int) -> None:
    images = frames(9)
    with restorer.stream(iter(images), workers=workers) as stream:
        restored = list(stream)
    assert len(restored) == 9
    assert all(np.array_equal(got, restorer.restore(image)) for got, image in zip(restored, images, strict=True))


def test_unchanged_tiles_are_taken_over_exactly(small_model: Path) -> None:
    with Restorer(small_model, tile=32) as restorer:
        still = frames(1)[0]
        moved = still.copy()
        moved[:2, :2] ^= 255
        with restorer.stream([still, still, moved], reuse=True) as stream:
            got = [(image, stream.record.reused) for image in stream if stream.record is not None]
        assert [share for _, share in got[:2]] == [0.0, 1.0]
        assert 0 < (got[2][1] or 0) < 1
        for (image, _), given in zip(got, [still, still, moved], strict=True):
            assert np.array_equal(image, restorer.restore(given))


def test_a_restorer_that_reuses_tiles_is_like_its_own(small_model: Path) -> None:
    still = frames(1)[0]
    with Restorer(small_model, tile=32, channel_order="bgr", clip=False) as restorer:
        reusing, tiles = restorer.in_sequence(reuse=True)
        assert tiles is not None
        assert np.array_equal(reusing.restore(still), restorer.restore(still))
        tiles.begin_frame()
        assert np.array_equal(reusing.restore(still), restorer.restore(still))
        assert (tiles.share(), tiles.total_share) == (1.0, 0.5)
        settings = ("channel_order", "clip", "tile", "backend")
        assert [reusing.report()[name] for name in settings] == [restorer.report()[name] for name in settings]
    with pytest.raises(RestorerClosedError):
        reusing.restore(still[::-1])
    with pytest.raises(RestorerClosedError):
        restorer.in_sequence(reuse=True)


def test_a_bad_frame_is_named_and_threads_end(restorer: Restorer) -> None:
    before = threading.active_count()
    with restorer.stream([frames(1)[0], None]) as stream, pytest.raises(StreamError, match="frame 1 could not be restored"):  # type: ignore[list-item]
        list(stream)
    assert threading.active_count() == before


def test_wrong_options_and_a_closed_restorer(small_model: Path) -> None:
    with Restorer(small_model) as restorer, pytest.raises(OptionsError, match="policy"):
        restorer.stream([], policy="newest")  # type: ignore[arg-type]
    with pytest.raises(RestorerClosedError):
        restorer.stream(frames(1))
