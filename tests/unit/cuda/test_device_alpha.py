"""The enlarging of alpha and the look for NaN, as C++ on the host: against OpenCV, and against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from host_launcher import HostLauncher, compiled
from hypothesis import given, settings
from hypothesis import strategies as st

from restore_sdk.cuda.arrays import import_array
from restore_sdk.image.device_layout import DeviceImage, inspect_view
from restore_sdk.image.layout import inspect, new_output
from restore_sdk.spec import ModelSpec

STREAM = 7
# Largest differences from OpenCV, which rounds weights for uint8 to 11 bits: levels, or parts of 1.0
CLOSE = {"uint8": 1, "uint16": 1, "float16": 2**-11, "float32": 4e-6}


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> HostLauncher:
    return HostLauncher(compiled(tmp_path_factory.mktemp("kernels")))


def enlarged(launcher: HostLauncher, image: np.ndarray, scale: int) -> np.ndarray:
    view = import_array(image, STREAM, launcher)
    spec = ModelSpec(name="any", method="self_supervised", task="super_resolve", scale=scale)
    device = DeviceImage(view, inspect_view(view), spec, launcher)
    device.enlarge_alpha()
    return np.from_dlpack(device.result)[..., 3].copy()


def rgba(alpha: np.ndarray) -> np.ndarray:
    image = np.zeros((*alpha.shape, 4), alpha.dtype)
    image[..., 3] = alpha
    return image


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_as_on_the_host(launcher: HostLauncher, data: st.DataObject) -> None:
    height, width, scale = (data.draw(st.integers(1, most)) for most in (9, 9, 4))
    dtype = data.draw(st.sampled_from(list(CLOSE)))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    white = np.iinfo(dtype).max if dtype.startswith("u") else 1
    image = rgba((random.random((height, width)) * white).astype(dtype))
    step = data.draw(st.sampled_from([1, -1]))
    image = image[::step, ::step]
    if scale == 1:
        return
    want = new_output(image, inspect(image), scale=scale)[..., 3]
    got = enlarged(launcher, image, scale)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got.astype(float), want.astype(float), rtol=0, atol=CLOSE[dtype])


@pytest.mark.parametrize("dtype", list(CLOSE))
def test_opaque_stays_opaque_and_nothing_overshoots(launcher: HostLauncher, dtype: str) -> None:
    white = np.iinfo(dtype).max if dtype.startswith("u") else 1
    assert (enlarged(launcher, rgba(np.full((5, 6), white, dtype)), 3) == white).all()
    step = np.zeros((6, 8), dtype)
    step[:, 4:] = white // 2 if dtype.startswith("u") else 0.5
    result = enlarged(launcher, rgba(step), 4)
    assert (result.min(), result.max()) == (step.min(), step.max())


def test_negative_floats_keep_their_order(launcher: HostLauncher) -> None:
    alpha = np.array([[-2, -0.5], [0.25, 3]], np.float32)
    result = enlarged(launcher, rgba(alpha), 2)
    assert (result.min(), result.max()) == (-2, 3)
    np.testing.assert_allclose(result, new_output(rgba(alpha), inspect(rgba(alpha)), scale=2)[..., 3], atol=4e-6)


def test_nan_in_alpha_stays_where_it_is(launcher: HostLauncher) -> None:
    alpha = np.full((12, 12), 0.5, np.float32)
    alpha[0, 0] = np.nan
    result = enlarged(launcher, rgba(alpha), 2)
    assert np.isnan(result[0, 0])
    assert (result[6:] == 0.5).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 57, 99])
def test_one_value_that_is_not_finite_is_found(launcher: HostLauncher, value: float, place: int) -> None:
    values, words = np.full(100, -3.4e38, np.float32), np.zeros(2, np.int64)
    assert look(launcher, values, words, number=5) == 0
    values[place] = value
    assert look(launcher, values, words, number=6) == 6
    words[0] = 7
    assert look(launcher, values, words, number=7) == 6, "an excuse was not heard"
    assert look(launcher, values, words, number=8) == 8, "the excuse of another batch was taken"
    assert look(launcher, values, words, number=9, excuse=False) == 9


def look(launcher: HostLauncher, values: np.ndarray, words: np.ndarray, *, number: int, excuse: bool = True) -> int:
    at = int(words.ctypes.data)
    arguments = (int(values.ctypes.data), np.int64(values.size), at if excuse else 0, at + 8, np.int64(number))
    launcher.launch("find_not_finite", values.size, arguments, STREAM)
    return int(words[1])
