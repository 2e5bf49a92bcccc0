from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from host_launcher import HostLauncher, Interface, NoKernels

from restore_sdk.cuda.arrays import DeviceArray, import_array, is_device_array, stream_handle
from restore_sdk.cuda.launching import DeviceMemory, open_launcher
from restore_sdk.errors import DeviceUnavailableError, ImageShapeError, ImageTypeError, OptionsError

STREAM = 7


@pytest.fixture
def launcher() -> HostLauncher:
    return NoKernels()


class Exporter:
    """A numpy array that exports itself as if it lay on GPU `index`, and writes down how it was asked."""

    def __init__(self, array: np.ndarray, index: int = 0, *, old: bool = False, kind: int = 1) -> None:
        self.array, self.index, self.old, self.kind = array, index, old, kind
        self.asked: list[dict[str, Any]] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, self.index

    def __dlpack__(self, **options: Any) -> object:
        self.asked.append(options)
        if self.old and "max_version" in options:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        options.pop("stream", None)
        return self.array.__dlpack__(**options)


class Stream:
    def __init__(self, **names: object) -> None:
        self.__dict__.update(names)


class ProtocolStream:
    cuda_stream = 5

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, 5


@pytest.mark.parametrize("thing", [np.zeros((4, 4)), None, "photo.png", [[1, 2]], Exporter(np.zeros(3, np.uint8))])
def test_what_is_no_device_array(thing: object) -> None:
    assert not is_device_array(thing)


def test_what_is_a_device_array(launcher: HostLauncher) -> None:
    assert is_device_array(Interface(np.zeros((4, 4), np.uint8)))
    assert is_device_array(Exporter(np.zeros(3, np.uint8), kind=2))
    assert is_device_array(Exporter(np.zeros(3, np.uint8), kind=13))


def test_tensors_on_the_cpu_are_none() -> None:
    torch = pytest.importorskip("torch")
    assert not is_device_array(torch.zeros(4, 4))


@pytest.mark.parametrize(
    ("stream", "handle"),
    [(0, 1), (1, 1), (2, 2), (94_000_000, 94_000_000), (Stream(cuda_stream=0), 1), (Stream(ptr=33), 33), (ProtocolStream(), 5)],
)
def test_streams(stream: object, handle: int) -> None:
    assert stream_handle(stream) == handle


@pytest.mark.parametrize("stream", [-1, True, "default", 1.0, Stream()])
def test_what_is_no_stream(stream: object) -> None:
    with pytest.raises(OptionsError, match="stream"):
        stream_handle(stream)


def test_the_protocols_own_stream(launcher: HostLauncher) -> None:
    image = np.zeros((4, 4), np.uint8)
    assert stream_handle(None, Interface(image, stream=9)) == 9
    assert stream_handle(None, Interface(image, stream=None)) == 1
    assert stream_handle(None, Exporter(image)) == 1
    with DeviceArray(DeviceMemory(launcher, 16, 11), (4, 4), image.dtype, launcher, 11) as ours:
        assert stream_handle(None, ours) == 11
        assert launcher.events == [("allocate", 16, 11)], "nothing was handed out"


def test_dlpack_is_asked_with_our_stream_and_version(launcher: HostLauncher) -> None:
    launcher.kind = 2
    exporter = Exporter(np.zeros((4, 4, 3), np.uint8), kind=2)
    with pytest.raises(ImageTypeError, match="does not reach"):  # the capsule itself says that it is the host's
        import_array(exporter, STREAM, launcher)
    assert exporter.asked == [{"max_version": (1, 1)}]  # popped: stream
    launcher.kind = 1


def test_the_stream_goes_to_the_producer(launcher: HostLauncher) -> None:
    seen: list[object] = []

    class Producer(Exporter):
        def __dlpack__(self, *, stream: object = None, max_version: tuple[int, int] | None = None) -> object:
            seen.append((stream, max_version, launcher.depth))
            return self.array.__dlpack__(max_version=max_version)

    launcher.kind = 2
    with pytest.raises(ImageTypeError):
        import_array(Producer(np.zeros((4, 4), np.uint8), kind=2), STREAM, launcher)
    assert seen == [(STREAM, (1, 1), 1)], "inside the device's context"


@pytest.mark.parametrize("old", [False, True])
def test_a_view_by_dlpack(launcher: HostLauncher, old: bool) -> None:
    array = np.arange(60, dtype=np.uint16).reshape(4, 5, 3)[::-1]
    exporter = Exporter(array, old=old)
    with import_array(exporter, STREAM, launcher) as view:
        assert (view.pointer, view.shape, view.strides) == (array.ctypes.data, array.shape, array.strides)
        assert (view.dtype, view.device_index, view.stream) == (array.dtype, 0, STREAM)
    assert len(exporter.asked) == 1 + old


def test_a_view_by_cuda_array_interface(launcher: HostLauncher) -> None:
    array = np.arange(60, dtype=np.float32).reshape(4, 5, 3)
    view = import_array(Interface(array[:, ::-1]), STREAM, launcher)
    assert (view.pointer, view.strides) == (array[:, ::-1].ctypes.data, (60, -12, 4))
    assert launcher.events == [], "it is ready on our stream"
    contiguous = import_array(Interface(array, strides=None, stream=None), STREAM, launcher)
    assert contiguous.strides == array.strides
    assert launcher.events == [], "no stream: nothing to wait for"
    import_array(Interface(array, stream=2), STREAM, launcher)
    assert launcher.events == [("order", STREAM, 2)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"typestr": ">f4"}, ">f4"),
        ({"typestr": "<f8"}, "<f8"),
        ({"typestr": "|b1"}, "b1"),
        ({"mask": object()}, "masked"),
        ({"stream": 0}, "stream 0"),
    ],
)
def test_interfaces_that_are_refused(launcher: HostLauncher, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ImageTypeError, match=words):
        import_array(Interface(np.zeros((4, 4), np.float32), **changes), STREAM, launcher)


@pytest.mark.parametrize("dtype", ["int16", "float64", "bool", "int8"])
def test_dtypes_that_are_refused_are_given_back(launcher: HostLauncher, dtype: str) -> None:
    exporter = Exporter(np.zeros((4, 4), dtype))
    with pytest.raises(ImageTypeError, match="uint8, uint16, float16 or float32"):
        import_array(exporter, STREAM, launcher)


def test_elements_off_their_place(launcher: HostLauncher) -> None:
    odd = np.zeros(64, np.uint8)[1:33].view(np.float32).reshape(2, 4)
    with pytest.raises(ImageShapeError, match="multiples of 4 bytes"):
        import_array(Interface(odd), STREAM, launcher)


def test_arrays_of_another_gpu(launcher: HostLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = Exporter(np.zeros((4, 4), np.uint8), index=1)
    with pytest.raises(DeviceUnavailableError, match="cuda:1"):
        import_array(exporter, STREAM, launcher)
    assert exporter.asked == []
    monkeypatch.setattr(launcher, "device_of", lambda _pointer: 3)
    with pytest.raises(DeviceUnavailableError, match="cuda:3"):
        import_array(Interface(np.zeros((4, 4), np.uint8)), STREAM, launcher)


def test_a_producer_that_refuses(launcher: HostLauncher) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(4, 4, requires_grad=True)
    with pytest.raises(ImageTypeError, match="detach"):
        import_array(tensor, STREAM, launcher)


def test_no_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restore_sdk.cuda.driver.driver_reason", lambda: "NVIDIA's driver is not installed")
    with pytest.raises(DeviceUnavailableError, match="not installed"):
        open_launcher(0)
