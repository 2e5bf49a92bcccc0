"""Arrays that a session is bound to: the bits of infer(), and what becomes of them when the backend is closed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from on_threads import on_threads

from restore_sdk.backends.base import BindingBackend
from restore_sdk.backends.onnx_runtime import OnnxRuntimeBackend, open_onnxruntime
from restore_sdk.errors import BackendError, DeviceMemoryError, RestorerClosedError
from restore_sdk.restorer import Restorer

SHAPE = (1, 3, 8, 12)


@pytest.fixture
def backend(small_model: Path) -> Iterator[OnnxRuntimeBackend]:
    opened = open_onnxruntime(small_model, device="cpu", threads=1)
    assert isinstance(opened, OnnxRuntimeBackend)
    yield opened
    opened.close()


def noise(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def pictures(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (8, 12, 3), np.uint8) for seed in range(count)]


@pytest.mark.parametrize("shape", [SHAPE, (2, 3, 4, 4), (1, 3, 16, 132)])
def test_the_bits_of_infer(backend: OnnxRuntimeBackend, shape: tuple[int, int, int, int]) -> None:
    assert isinstance(backend, BindingBackend)
    bound = backend.bind(shape)
    for seed in range(3):
        bound.given[...] = noise(seed, shape)
        bound.run()
        np.testing.assert_array_equal(bound.restored, backend.infer(noise(seed, shape)))


@pytest.mark.parametrize("shape", [(1, 3, 8, 13), (1, 1, 8, 12), (3, 8, 12)])
def test_shapes_of_another_network(backend: OnnxRuntimeBackend, shape: tuple[int, ...]) -> None:
    with pytest.raises(BackendError, match="wanted float32 of shape"):
        backend.bind(shape)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "error"), [("a node failed", BackendError), ("Failed to allocate memory", DeviceMemoryError)]
)
def test_what_the_runtime_raises(
    backend: OnnxRuntimeBackend, monkeypatch: pytest.MonkeyPatch, message: str, error: type[BackendError]
) -> None:
    bound = backend.bind(SHAPE)

    def fails(_: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(bound, "_start", fails)
    with pytest.raises(error):
        bound.run()


def test_after_close(backend: OnnxRuntimeBackend) -> None:
    bound = backend.bind(SHAPE)
    backend.close()
    with pytest.raises(RestorerClosedError):
        bound.run()
    with pytest.raises(RestorerClosedError):
        backend.bind(SHAPE)


def test_a_backend_that_its_owner_closed(backend: OnnxRuntimeBackend) -> None:
    restorer = Restorer(backend)
    for image in pictures(3):
        restorer(image)
    backend.close()
    with pytest.raises(RestorerClosedError):
        restorer(pictures(1)[0])


def test_a_closed_restorer_lets_go_of_the_session(small_model: Path) -> None:
    restorer = Restorer(small_model, backend="onnxruntime", device="cpu", threads=1)
    for picture in pictures(3):
        restorer(picture)
    session = weakref.ref(restorer._backend._session)  # type: ignore[union-attr]
    restorer.close()
    gc.collect()
    assert session() is None


def test_threads_share_no_arrays(small_model: Path) -> None:
    images = pictures(8)
    with Restorer(small_model, backend="onnxruntime", device="cpu", threads=1) as restorer:
        wanted = [restorer.restore(image, tile=None, on_tile=lambda *_: None) for image in images]  # the long way
        for _ in range(2):
            restorer(images[0])
        wrong: list[int] = []

        def work(index: int) -> None:
            wrong.extend(index for _ in range(50) if not np.array_equal(restorer(images[index]), wanted[index]))

        on_threads(work, len(images))
    assert not wrong


def test_more_shapes_than_are_bound(small_model: Path) -> None:
    with Restorer(small_model, backend="onnxruntime", device="cpu", threads=1) as restorer:
        for height in range(4, 80, 4):
            image = np.full((height, 8, 3), height, np.uint8)
            first = restorer(image)
            for _ in range(2):
                np.testing.assert_array_equal(restorer(image), first)
