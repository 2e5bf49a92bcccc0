"""restore_on_device() with the real kernels, compiled for the host: against Restorer on the host."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import numpy as np
import pytest
from host_blur import blur, model
from host_launcher import HostLauncher, Interface, compiled
from numpy.typing import NDArray

from restore_sdk.backends.base import DeviceBackend
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.cuda.arrays import DeviceArray
from restore_sdk.device_images import restore_on_device
from restore_sdk.errors import DeviceMemoryError, DeviceUnavailableError, ImageShapeError, OptionsError
from restore_sdk.options import TileOptions, tile_options
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec
from restore_sdk.tiling.choice import Planner
from restore_sdk.tiling.plan import TilePlan
from restore_sdk.tiling.recovery import Recovery

STREAM = 7
Batch = NDArray[np.float32]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compiled(tmp_path_factory.mktemp("kernels"))


def doubled(batch: Batch) -> Batch:
    return blur(batch).repeat(2, axis=2).repeat(2, axis=3)


class OnDevice(FunctionBackend):
    """A DeviceBackend whose device is the host. `room`: pixels that fit into one pass."""

    device_index = 0
    room = 1 << 40

    def __init__(self, spec: ModelSpec, launcher: HostLauncher) -> None:
        super().__init__(spec, blur if spec.scale == 1 else doubled)
        self.launcher = launcher

    def infer_on_device(self, given: int, restored: int, shape: tuple[int, int, int, int], stream: int, /) -> None:
        self.launcher.events.append(("infer", shape, stream))
        if shape[2] * shape[3] > self.room:
            raise DeviceMemoryError(None, 5, shape[2:])
        result = self.infer(viewed(given, shape))
        viewed(restored, result.shape)[...] = result


def viewed(pointer: int, shape: tuple[int, ...]) -> Batch:
    return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), shape)


def pixels(*shape: int, dtype: str = "uint8") -> np.ndarray:
    random = np.random.default_rng(3)
    return random.integers(0, 255, shape).astype(dtype) if dtype.startswith("u") else random.normal(0.5, 0.3, shape).astype(dtype)


def restored(
    image: object, backend: OnDevice, *, tile: object = "auto", recovery: Recovery | None = None, **options: object
) -> tuple[DeviceArray, TilePlan]:
    chosen = tile_options(tile)  # type: ignore[arg-type]
    memory = Recovery(backend.spec.size_multiple) if recovery is None else recovery
    result = restore_on_device(
        image,
        backend,
        Planner(backend.spec).plan,
        memory,
        options=chosen,
        launchers=lambda _index: backend.launcher,
        **options,  # type: ignore[arg-type]
    )
    gc.collect()
    return result


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("shape", [(37, 50), (37, 50, 1), (37, 50, 3), (37, 50, 4)])
@pytest.mark.parametrize("tile", [None, 16])
def test_the_bits_of_the_host(library: ctypes.CDLL, shape: tuple[int, ...], dtype: str, tile: int | None) -> None:
    image, backend = pixels(*shape, dtype=dtype), OnDevice(model(), HostLauncher(library))
    result, plan = restored(Interface(image), backend, tile=tile)
    assert plan.count == (1 if tile is None else 12)
    want = Restorer(backend, tile=tile).restore(image)
    assert (result.dtype, result.shape) == (want.dtype, want.shape)
    np.testing.assert_array_equal(np.from_dlpack(result), want)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {"order": "bgr"}),
        ({}, {"clip": False}),
        ({"value_range": (-1.0, 1.0)}, {}),
        ({"scale": 2}, {}),
        ({"size_multiple": 8, "receptive_radius": 3}, {}),
    ],
)
def test_options_and_promises(library: ctypes.CDLL, changes: dict[str, object], options: dict[str, object]) -> None:
    image, backend = pixels(41, 30, 3, dtype="float32")[:, ::-1], OnDevice(model(**changes), HostLauncher(library))
    result, _ = restored(Interface(image), backend, tile=16, **options)
    on_host = {"channel_order" if name == "order" else name: value for name, value in options.items()}
    want = Restorer(backend, tile=16).restore(image, **on_host)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.from_dlpack(result), want)


def test_one_plane_for_a_network_of_one(library: ctypes.CDLL) -> None:
    backend = OnDevice(model(channels=1), HostLauncher(library))
    result, _ = restored(Interface(pixels(20, 20)), backend)
    np.testing.assert_array_equal(np.from_dlpack(result), Restorer(backend).restore(pixels(20, 20)))
    with pytest.raises(ImageShapeError, match="one channel"):
        restored(Interface(pixels(20, 20, 3)), backend)


def test_all_is_queued_on_the_callers_stream_and_nothing_waits(library: ctypes.CDLL) -> None:
    backend = OnDevice(model(), HostLauncher(library))
    result, plan = restored(Interface(pixels(32, 16, 3), stream=None), backend, tile=16, stream=STREAM)
    assert (plan.count, result.stream) == (2, STREAM)
    tile_bytes = 3 * 4 * 18 * 16
    assert backend.launcher.events == [
        ("allocate", 32 * 16 * 3, STREAM),
        ("allocate", tile_bytes, STREAM),
        ("allocate", tile_bytes, STREAM),
        *([("gather", 18 * 16, STREAM), ("infer", (1, 3, 18, 16), STREAM), ("scatter", 16 * 16, STREAM)] * 2),
        ("free", tile_bytes, STREAM),
        ("free", tile_bytes, STREAM),
    ]


def test_only_the_result_is_left(library: ctypes.CDLL) -> None:
    launcher = HostLauncher(library)
    backend = OnDevice(model(), launcher)
    result, _ = restored(Interface(pixels(32, 16, 3)), backend)
    assert list(launcher.buffers) == [result.pointer]
    result.close()
    assert launcher.buffers == {}


def test_the_stream_of_the_array_is_the_callers(library: ctypes.CDLL) -> None:
    backend = OnDevice(model(), HostLauncher(library))
    assert restored(Interface(pixels(16, 16), stream=12), backend)[0].stream == 12
    result, _ = restored(Interface(pixels(16, 16), stream=12), backend, stream=13)
    assert result.stream == 13
    assert ("order", 13, 12) in backend.launcher.events


def test_a_result_goes_back_in(library: ctypes.CDLL) -> None:
    backend = OnDevice(model(), HostLauncher(library))
    once, _ = restored(Interface(pixels(20, 22, 3)), backend)
    twice, _ = restored(once, backend)
    on_host = Restorer(backend)
    np.testing.assert_array_equal(np.from_dlpack(twice), on_host(on_host(pixels(20, 22, 3))))
    assert twice.stream == once.stream


def test_tiles_are_counted(library: ctypes.CDLL) -> None:
    calls: list[tuple[int, int]] = []
    restored(Interface(pixels(40, 40)), OnDevice(model(), HostLauncher(library)), tile=20, on_tile=lambda *at: calls.append(at))
    assert calls == [(done, 4) for done in (1, 2, 3, 4)]


def test_the_network_runs_out_of_memory(library: ctypes.CDLL) -> None:
    backend, recovery = OnDevice(model(), HostLauncher(library)), Recovery(2)
    backend.room = 40 * 40
    image = pixels(70, 66, 3)
    result, _ = restored(Interface(image), backend, recovery=recovery)
    np.testing.assert_array_equal(np.from_dlpack(result), Restorer(backend).restore(image))
    assert recovery.report() == {"from": 70, "to": 34}
    assert len(backend.launcher.buffers) == 1, "scratch memory is left"


def test_the_tiles_buffers_do_not_fit(library: ctypes.CDLL) -> None:
    launcher, image = HostLauncher(library, room=120_000), pixels(70, 66, 3)
    backend, recovery = OnDevice(model(), launcher), Recovery(2)
    result, _ = restored(Interface(image), backend, recovery=recovery)
    np.testing.assert_array_equal(np.from_dlpack(result), Restorer(backend).restore(image))
    assert recovery.report() == {"from": 70, "to": 34}


def test_the_smallest_tile_does_not_fit(library: ctypes.CDLL) -> None:
    launcher = HostLauncher(library, room=70 * 66 * 3 + 2000)
    with pytest.raises(DeviceMemoryError) as caught:
        restored(Interface(pixels(70, 66, 3)), OnDevice(model(), launcher))
    side = 12 + 2 * 2  # 70 in three, then in two: cores of 12 with a halo on each side
    assert (caught.value.required, caught.value.free, caught.value.tile) == (3 * 4 * side**2, 2000, (side, side))
    assert launcher.buffers == {}


def test_never_cut_means_never(library: ctypes.CDLL) -> None:
    backend = OnDevice(model(), HostLauncher(library))
    backend.room = 100
    with pytest.raises(DeviceMemoryError):
        restored(Interface(pixels(40, 40)), backend, tile=None)
    assert [event for event in backend.launcher.events if event[0] == "infer"] == [("infer", (1, 3, 40, 40), STREAM)]


@pytest.mark.parametrize(
    ("image", "options", "error"),
    [
        (pixels(20, 20, 2), {}, ImageShapeError),
        (pixels(20), {}, ImageShapeError),
        (pixels(3, 20), {}, ImageShapeError),
        (pixels(20, 20), {"order": "hsv"}, OptionsError),
        (pixels(20, 20), {"stream": "mine"}, OptionsError),
    ],
)
def test_what_is_refused(library: ctypes.CDLL, image: np.ndarray, options: dict[str, object], error: type[Exception]) -> None:
    launcher = HostLauncher(library)
    with pytest.raises(error):
        restored(Interface(image), OnDevice(model(min_size=4), launcher), **options)
    assert launcher.buffers == {}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_alpha_is_enlarged(library: ctypes.CDLL, dtype: str) -> None:
    """Colours have the bits of the host, alpha is rounded elsewhere than by OpenCV; test_device_alpha.py has the figures."""
    backend, image = OnDevice(model(scale=2), HostLauncher(library)), pixels(40, 30, 4, dtype=dtype)
    result, plan = restored(Interface(image), backend, tile=16)
    got, want = np.from_dlpack(result), Restorer(backend, tile=16).restore(image)
    assert plan.count > 1
    assert got.shape == (80, 60, 4)
    np.testing.assert_array_equal(got[..., :3], want[..., :3])
    np.testing.assert_allclose(got[..., 3].astype(float), want[..., 3].astype(float), atol=1 if dtype[0] == "u" else 2e-3)
    assert [event[0] for event in backend.launcher.events].count("enlarge") == 1
    del got
    result.close()
    assert backend.launcher.buffers == {}


def test_a_backend_without_a_device() -> None:
    spec = model()
    assert not isinstance(FunctionBackend(spec, blur), DeviceBackend)
    with pytest.raises(OptionsError, match="numpy array"):
        restore_on_device(Interface(pixels(20, 20)), FunctionBackend(spec, blur), Planner(spec).plan, Recovery())


def test_an_array_of_another_gpu(library: ctypes.CDLL, tmp_path: Path) -> None:
    launcher = HostLauncher(library)
    launcher.index = 1
    backend = OnDevice(model(), launcher)
    assert isinstance(backend, DeviceBackend)
    with pytest.raises(DeviceUnavailableError, match=r"cuda:0.*cuda:1"):
        restored(Interface(pixels(20, 20)), backend)


def test_options_stay_for_the_next_call(library: ctypes.CDLL) -> None:
    """A size that did not fit is not tried again, on the host or the device: the Recovery is one."""
    backend, recovery = OnDevice(model(), HostLauncher(library)), Recovery(2)
    backend.room = 40 * 40
    for _ in range(2):
        backend.launcher.events.clear()
        _, plan = restored(Interface(pixels(70, 66, 3)), backend, recovery=recovery, tile=TileOptions())
    assert plan.count == 3 * 2  # cores of at most 34
    assert all(event[1][2] * event[1][3] <= 40 * 40 for event in backend.launcher.events if event[0] == "infer")  # type: ignore[index]
