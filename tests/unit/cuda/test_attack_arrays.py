"""Objects that lie about being arrays on a GPU: a typed error, and what was borrowed is given back."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import POINTER, cast
from typing import Any

import numpy as np
import pytest
from host_launcher import HostLauncher, Interface

from restore_sdk.cuda import dlpack
from restore_sdk.cuda.arrays import import_array, is_device_array, stream_handle
from restore_sdk.errors import ImageError, ImageShapeError, ImageTypeError, OptionsError
from restore_sdk.restorer import Restorer

STREAM = 7
PIXELS = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture
def launcher() -> HostLauncher:
    return HostLauncher(None)  # type: ignore[arg-type]


def fake(**names: object) -> Any:
    return type("Fake", (), names)()


def raising(error: Exception) -> Callable[..., Any]:
    def method(*_: object, **__: object) -> Any:
        raise error

    return method


ERRORS = [RuntimeError("no"), ValueError("no"), BufferError("no"), KeyError("no"), AttributeError("no"), OverflowError("no")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_raises_when_asked_is_no_device_array(error: Exception) -> None:
    by_call = fake(__dlpack_device__=raising(error))
    by_property = fake(__cuda_array_interface__=property(raising(error)))
    for thing in (by_call, by_property):
        assert not is_device_array(thing)
        with Restorer() as restorer, pytest.raises(ImageTypeError, match="expected a numpy array"):
            restorer.restore(thing)


@pytest.mark.parametrize("device", [None, (), 3, ("x", 0), (object(), 0)])
def test_a_device_that_is_nonsense_is_none(device: object) -> None:
    assert not is_device_array(fake(__dlpack_device__=lambda _self: device))


def test_classes_and_tensors_without_memory_are_none() -> None:
    torch = pytest.importorskip("torch")
    assert not is_device_array(type("Array", (), {"__cuda_array_interface__": {}}))
    assert not is_device_array(torch.zeros(4, 4, device="meta"))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_exporter_that_raises(launcher: HostLauncher, error: Exception) -> None:
    with pytest.raises(ImageTypeError, match="cannot be shared"):
        import_array(fake(__dlpack_device__=lambda _self: (1, 0), __dlpack__=raising(error)), STREAM, launcher)
    assert launcher.depth == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": None},
        {"shape": ("a",)},
        {"shape": (-4, 4, 3)},
        {"shape": (10**30, 4, 3)},
        {"shape": (1 << 40, 1 << 20)},
        {"typestr": []},
        {"data": None},
        {"data": ()},
        {"data": (0, False)},
        {"data": (-8, False)},
        {"strides": (3,)},
        {"strides": 5},
        {"stream": "x"},
        {"stream": -1},
    ],
    ids=str,
)
def test_an_interface_of_nonsense(launcher: HostLauncher, changes: dict[str, object]) -> None:
    with pytest.raises(ImageError):
        import_array(Interface(PIXELS, **changes), STREAM, launcher)
    assert launcher.depth == 0


@pytest.mark.parametrize("interface", [None, 5, "x", {}, {"shape": (4, 4)}])
def test_an_interface_that_is_none(launcher: HostLauncher, interface: object) -> None:
    with pytest.raises(ImageTypeError):
        import_array(fake(__cuda_array_interface__=interface), STREAM, launcher)


@pytest.mark.parametrize("interface", [None, 5, {"stream": 0}, {"stream": "x"}])
def test_the_stream_of_an_interface_of_nonsense(interface: object) -> None:
    with pytest.raises(ImageTypeError):
        stream_handle(None, fake(__cuda_array_interface__=interface))


@pytest.mark.parametrize("answer", [raising(RuntimeError("no")), lambda _self: 5, lambda _self: (0,), lambda _self: (0, "x"), 3])
def test_a_stream_that_lies(answer: object) -> None:
    with pytest.raises(OptionsError):
        stream_handle(fake(__cuda_stream__=answer))


def test_a_handle_that_no_pointer_holds() -> None:
    with pytest.raises(OptionsError):
        stream_handle(1 << 64)


@pytest.mark.parametrize("changes", [{"ndim": -1}, {"ndim": 1 << 30}, {"shape": None}], ids=str)
def test_axes_of_nonsense_are_given_back(launcher: HostLauncher, changes: dict[str, object]) -> None:
    released: list[bool] = []
    tensor = dlpack.Tensor(PIXELS.ctypes.data, PIXELS.shape, (12, 3, 1), "u", 1, (1, 0), False, lambda: released.append(True))
    capsule = dlpack.produce(tensor, PIXELS, versioned=False)
    managed = cast(dlpack._pointer(capsule, b"dltensor"), POINTER(dlpack._Managed)).contents
    for name, value in changes.items():
        setattr(managed.dl_tensor, name, value)
    with pytest.raises(ImageTypeError, match="axes"):
        import_array(fake(__dlpack_device__=lambda _self: (1, 0), __dlpack__=lambda _self, **_: capsule), STREAM, launcher)
    assert released == [True]


def test_no_memory_and_yet_pixels(launcher: HostLauncher) -> None:
    with pytest.raises(ImageShapeError, match="an array in memory"):
        import_array(Interface(PIXELS, data=(0, False)), STREAM, launcher)
