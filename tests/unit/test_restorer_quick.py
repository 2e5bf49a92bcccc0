"""The second call on bytes of one shape takes a shorter way: it must do all that the first one does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.errors import BackendError, DeviceMemoryError, MaskError, RestorerClosedError
from restore_sdk.options import TileOptions
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

SPEC = ModelSpec(name="f", method="m", task="denoise", size_multiple=4, receptive_radius=0, bytes_per_pixel=64.0)
Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def picture(height: int = 8, width: int = 12, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def restorer_of(network: Network, **options: Any) -> Restorer:
    return Restorer(FunctionBackend(SPEC, network), **options)


def was_quick(restorer: Restorer, image: NDArray[np.uint8]) -> bool:
    """Whether the next call on `image` takes the short way."""
    return restorer._host.quickly(image) is not None


def brighter(batch: NDArray[np.float32]) -> NDArray[np.float32]:
    return batch * np.float32(1.7) - np.float32(0.3)  # leaves [0, 1] at both ends


@given(st.integers(1, 10), st.integers(1, 10), st.integers(0, 9))
def test_the_same_bits_as_the_long_way(rows: int, columns: int, seed: int) -> None:
    image = picture(4 * rows, 4 * columns, seed)
    with restorer_of(brighter) as restorer:
        first = restorer(image)
        assert was_quick(restorer, image)
        for view in (image, image[::-1, ::-1][::-1, ::-1], np.asfortranarray(image)):
            assert np.array_equal(restorer(view), first)
        assert np.array_equal(restorer(image[::-1]), first[::-1])
        expected = np.clip(np.rint(brighter(image / np.float32(255)).astype(np.float64) * 255), 0, 255)
        assert np.abs(first - expected).max() <= 1  # float32 against float64 at the halves


def test_the_image_is_neither_written_to_nor_shared() -> None:
    image = picture()
    image.flags.writeable = False
    before = image.copy()
    with restorer_of(lambda batch: batch) as restorer:
        results = [restorer(image) for _ in range(3)]
    assert np.array_equal(image, before)
    assert all(np.array_equal(result, before) for result in results)
    assert len({result.ctypes.data for result in [image, *results]}) == 4
    assert all(result.flags.writeable for result in results)


@pytest.mark.parametrize(
    "image",
    [picture(7), picture()[..., :1], picture()[..., 0], picture().astype(np.uint16), np.zeros((8, 12, 4), np.uint8)],
    ids=["padded", "one channel", "gray", "16 bits", "alpha"],
)
def test_others_take_the_long_way(image: NDArray[Any]) -> None:
    with restorer_of(lambda batch: batch) as restorer:
        for _ in range(2):
            assert np.array_equal(restorer(image), image)
        assert not was_quick(restorer, image)


def test_blue_first_takes_the_long_way_whichever_came_before() -> None:
    image = picture()

    def no_red(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return batch * np.array([0, 1, 1], np.float32).reshape(1, 3, 1, 1)

    with restorer_of(no_red, channel_order="bgr") as restorer:
        for _ in range(2):
            assert not restorer(image)[..., 2].any()
            assert not restorer(image, channel_order="rgb")[..., 0].any()
    with restorer_of(no_red) as restorer:
        for _ in range(2):
            assert not restorer(image)[..., 0].any()
            assert not restorer(image, channel_order="bgr")[..., 2].any()


def test_other_tiles_on_one_call() -> None:
    image, seen = picture(32, 32), []

    def watched(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(batch.shape[2:])
        return batch

    with restorer_of(watched) as restorer:
        for tile in (..., TileOptions(core=16), ..., TileOptions(core=16)):
            assert np.array_equal(restorer.restore(image, tile=tile), image)
        assert seen == [(32, 32), *[(16, 16)] * 4] * 2
        assert restorer.report()["last_plan"]["tiles"] == 4  # type: ignore[index]
        restorer(image)
        assert restorer.report()["last_plan"]["tiles"] == 1  # type: ignore[index]


def test_what_the_long_way_refuses_is_refused() -> None:
    image = picture()
    restorer = restorer_of(lambda batch: batch)
    for _ in range(2):
        restorer(image)
    with pytest.raises(MaskError):
        restorer.restore(image, np.zeros((8, 12), bool))
    restorer.close()
    with pytest.raises(RestorerClosedError):
        restorer(image)


def test_a_network_that_returns_another_size_the_second_time() -> None:
    sizes = iter([8, 8, 4, 4])
    with restorer_of(lambda batch: np.zeros((1, 3, next(sizes), 12), np.float32)) as restorer:
        restorer(picture())
        restorer(picture())
        with pytest.raises(BackendError, match="the network returned"):
            restorer(picture())


def test_memory_that_runs_out_later() -> None:
    """The long way is asked, which cuts the image into smaller tiles, and from then on always."""
    image, room = picture(64, 64), [10**9]

    def network(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if batch[0, 0].size > room[0]:
            raise DeviceMemoryError(required=1, free=0, tile=batch.shape[2:])
        return batch

    with restorer_of(network) as restorer:
        restorer(image)
        assert was_quick(restorer, image)
        room[0] = 1024
        assert np.array_equal(restorer(image), image)
        assert restorer.report()["recovered"] is not None
        assert not was_quick(restorer, image)
        assert np.array_equal(restorer(image), image)


@pytest.mark.parametrize("kind", ["f8", "f2", ">f4"])
def test_other_floats_of_a_function_are_taken(kind: str) -> None:
    image = picture()
    with restorer_of(lambda batch: batch.astype(kind)) as restorer:  # type: ignore[arg-type,return-value]
        for _ in range(2):
            assert np.abs(restorer(image).astype(int) - image).max() <= (1 if kind == "f2" else 0)


class Careless(FunctionBackend):
    """Hands out what the function returns, as a backend of one's own may."""

    def infer(self, batch: NDArray[np.float32], /) -> NDArray[np.float32]:
        return self._function(batch)


@pytest.mark.parametrize("shape", [(8, 12, 3), (8, 12), (300, 300, 3)])
@pytest.mark.parametrize(
    "make", [lambda batch: batch.astype("f8"), lambda batch: batch.astype(">f4"), lambda batch: batch.tolist()]
)
def test_other_results_of_a_backend_are_refused_every_time(make: Network, shape: tuple[int, ...]) -> None:
    answers = iter([lambda batch: batch, make, make])
    with Restorer(Careless(SPEC, lambda batch: next(answers)(batch))) as restorer:  # noqa: PLW0108 another one each time
        image = np.zeros(shape, np.uint8)
        restorer(image)
        for _ in range(1 if shape == (8, 12, 3) else 2):  # the short way asks the long one, which asks the network again
            with pytest.raises(BackendError, match="expected a numpy array of float32"):
                restorer(image)
