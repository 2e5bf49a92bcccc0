"""The kernels' own source, compiled for the host, against image/layout.py: the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from host_launcher import HostLauncher, compiled
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_sdk.cuda.arrays import DeviceArray, import_array
from restore_sdk.cuda.launching import KERNELS, compile_kernels
from restore_sdk.image.device_layout import DeviceImage, inspect_view
from restore_sdk.image.layout import inspect, new_output, read_tile, write_tile
from restore_sdk.spec import ModelSpec

DTYPES = ("uint8", "uint16", "float16", "float32")
STREAM = 7


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> HostLauncher:
    return HostLauncher(compiled(tmp_path_factory.mktemp("kernels")))


def model(**changes: object) -> ModelSpec:
    return ModelSpec(name="any", method="self_supervised", task="denoise", **changes)  # type: ignore[arg-type]


def pixels(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if dtype.startswith("u"):
        return random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return random.normal(0.5, 0.6, shape).astype(dtype)


def copied(result: DeviceArray) -> np.ndarray:
    return np.from_dlpack(result).copy()


def on_device(
    launcher: HostLauncher, image: np.ndarray, spec: ModelSpec, *, order: str = "rgb", clip: bool = True
) -> DeviceImage:
    view = import_array(image, STREAM, launcher)
    return DeviceImage(view, inspect_view(view, order=order), spec, launcher, clip=clip)  # type: ignore[arg-type]


def gathered(launcher: HostLauncher, image: np.ndarray, spec: ModelSpec, rows: slice, columns: slice, order: str) -> np.ndarray:
    tile = np.full((1, spec.channels, rows.stop - rows.start, columns.stop - columns.start), np.nan, np.float32)
    on_device(launcher, image, spec, order=order).gather(rows, columns, tile.ctypes.data)
    return tile


def assert_same_bits(got: np.ndarray, want: np.ndarray) -> None:
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_array_equal(got.view(f"u{got.itemsize}"), want.view(f"u{want.itemsize}"))


def strided(image: np.ndarray, how: str) -> np.ndarray:
    """The same pixels at other places in memory."""
    if how == "planar":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(image, -1, 0)), 0, -1)
    if how == "backwards":
        return np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1]
    if how == "cropped":
        wide = np.zeros((image.shape[0] + 3, image.shape[1] + 5, *image.shape[2:]), image.dtype)
        wide[2:-1, 1:-4] = image
        return wide[2:-1, 1:-4]
    return image


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_gather_is_read_tile(launcher: HostLauncher, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    channels = data.draw(st.sampled_from([(), (1,), (3,), (4,)]))
    image = pixels((height, width, *channels), data.draw(st.sampled_from(DTYPES)))
    image = strided(image, data.draw(st.sampled_from(["as it is", "planar", "backwards", "cropped"])))
    order = data.draw(st.sampled_from(["rgb", "bgr"]))
    planes = 3 if channels in {(3,), (4,)} else data.draw(st.sampled_from([1, 3]))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows, columns = slice(top, top + data.draw(st.integers(1, 30))), slice(left, left + data.draw(st.integers(1, 30)))
    want = read_tile(image, inspect(image, order=order), rows, columns, channels=planes)  # type: ignore[arg-type]
    assert_same_bits(gathered(launcher, image, model(channels=planes), rows, columns, order), want)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_every_value_is_read_as_on_the_host(launcher: HostLauncher, dtype: str) -> None:
    size = 256 if dtype == "uint8" else 65536
    image = np.arange(size, dtype=f"u{np.dtype(dtype).itemsize}").view(dtype).reshape(16, -1)
    finite = image if dtype != "float16" else np.where(np.isfinite(image), image, np.float16(0))
    rows, columns = slice(0, 16), slice(0, image.shape[1])
    want = read_tile(finite, inspect(finite), rows, columns)
    assert_same_bits(gathered(launcher, finite, model(), rows, columns, "rgb"), want)


def extremes() -> np.ndarray:
    """Float32 values about every place where a conversion turns: halves, limits, the smallest, the largest, and any bits."""
    random = np.random.default_rng(1)
    halves = (np.arange(0, 256, dtype=np.float64) + 0.5) / 255
    more = (random.integers(0, 65535, 512) + 0.5) / 65535
    special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        65504,
        65519.996,
        65520,
        1e-8,
        2.0**-24,
        2.0**-25,
        3 * 2.0**-25,
        6e-5,
        6.1e-5,
        1e30,
        3e38,
    ]
    float16 = np.arange(0, 0x7BFF, 7, np.uint16)
    ties = (float16.view(np.float16).astype(np.float64) + (float16 + 1).view(np.float16)) / 2
    near = np.concatenate([halves, more, special, np.negative(special), ties]).astype(np.float32)
    steps = np.concatenate([np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))])
    anything = random.integers(0, 2**32, 20000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([steps, anything[np.isfinite(anything)]])
    return values[: len(values) // 24 * 24]


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_scatter_is_write_tile_for_all_values(launcher: HostLauncher, dtype: str, order: str, clip: bool) -> None:
    tile = extremes().reshape(1, 3, 8, -1)
    tile[0, 0, 0, :3] = np.nan, np.inf, -np.inf
    image = pixels((8, tile.shape[3], 3), dtype)
    if dtype == "float16":
        tile[np.isnan(tile)] = 0  # the payload of a NaN is not kept
    rows, columns = slice(0, 8), slice(0, tile.shape[3])
    layout = inspect(image, order=order)  # type: ignore[arg-type]
    want = new_output(image, layout)
    with np.errstate(over="ignore"):
        write_tile(want, layout, rows, columns, tile, clip=clip)
    device = on_device(launcher, image, model(), order=order, clip=clip)
    device.scatter(tile.ctypes.data, (rows, columns), (rows, columns))
    assert_same_bits(copied(device.result), want)


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_scatter_is_write_tile_for_all_places(launcher: HostLauncher, data: st.DataObject) -> None:
    """A tile in the middle, at or beyond a border, with a halo on each side, for gray, colour and alpha, at scales 1 and 2."""
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    scale = data.draw(st.sampled_from([1, 2]))
    channels = data.draw(st.sampled_from([(), (1,), (3,), (4,)] if scale == 1 else [(), (1,), (3,)]))
    image = strided(
        pixels((height, width, *channels), data.draw(st.sampled_from(DTYPES))), data.draw(st.sampled_from(["", "planar"]))
    )
    planes = 3 if channels in {(3,), (4,)} else data.draw(st.sampled_from([1, 3]))
    layout, spec = inspect(image), model(channels=planes, scale=scale)
    outer, core = zip(*(_spans(data, length) for length in (height, width)), strict=True)
    shape = ((span.stop - span.start) * scale for span in outer)
    tile = pixels((1, planes, *shape), "float32", seed=1)
    device = on_device(launcher, image, spec)
    want = np.empty(layout.scaled_shape(scale), layout.dtype)
    want.view(np.uint8)[...] = 0xA5
    place = tuple(
        slice(span.start * scale, min(span.stop, length) * scale) for span, length in zip(core, (height, width), strict=True)
    )
    offset = tuple((inner.start - whole.start) * scale for inner, whole in zip(core, outer, strict=True))
    cropped = np.ascontiguousarray(tile[:, :, offset[0] :, offset[1] :])
    if layout.has_alpha:
        want[(*place, 3)] = image[(*place, 3)]
    write_tile(want, layout, core[0], core[1], cropped, scale=scale)
    device.scatter(tile.ctypes.data, outer, core)  # type: ignore[arg-type]
    assert_same_bits(copied(device.result), want)


def _spans(data: st.DataObject, length: int) -> tuple[slice, slice]:
    """(outer, core) on one axis; both may reach beyond the image."""
    start = data.draw(st.integers(0, length - 1))
    stop = start + data.draw(st.integers(1, 16))
    before, after = data.draw(st.integers(0, start)), data.draw(st.integers(0, 4))
    return slice(start - before, stop + after), slice(start, stop)


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 255.0), (0.5, 1.5)])
def test_the_networks_own_range_of_values(launcher: HostLauncher, value_range: tuple[float, float]) -> None:
    """As Restorer does it on the host: x * width + least in float32, one rounding after the other, and back."""
    image, spec = pixels((6, 8, 3), "uint16"), model(value_range=value_range)
    rows, columns = slice(0, 6), slice(0, 8)
    least, width = np.float32(value_range[0]), np.float32(value_range[1] - value_range[0])
    given_tile = gathered(launcher, image, spec, rows, columns, "rgb")
    want = read_tile(image, inspect(image), rows, columns) * width + least
    assert_same_bits(given_tile, want)
    device, result = on_device(launcher, image, spec), new_output(image, inspect(image))
    device.scatter(given_tile.ctypes.data, (rows, columns), (rows, columns))
    write_tile(result, inspect(image), rows, columns, (given_tile - least) / width)
    assert_same_bits(copied(device.result), result)


def test_nvrtc_compiles_the_kernels() -> None:
    """The real compiler of CUDA, which needs no GPU: no warning, all kernels, for the oldest and newest GPUs we speak of."""
    core = pytest.importorskip("cuda.core", reason="cuda-core is not installed")
    pathfinder = pytest.importorskip("cuda.pathfinder", reason="cuda-pathfinder is not installed")
    try:
        pathfinder.load_nvidia_dynamic_lib("nvrtc")
    except pathfinder.DynamicLibNotFoundError as exc:
        pytest.skip(f"NVRTC (nvidia-cuda-nvrtc) is not installed: {str(exc).splitlines()[0]}")
    for architecture in ("sm_75", "sm_90", "sm_120"):
        code = bytes(compile_kernels(core, architecture).code)
        assert code.startswith(b"\x7fELF")
        assert [name for name in KERNELS if b".text." + name.encode() not in code] == []


def test_the_source_is_there() -> None:
    from restore_sdk.cuda import launching

    assert (Path(launching.__file__).parent / launching.SOURCE).read_text(encoding="utf-8") == launching.source()
