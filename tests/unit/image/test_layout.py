from __future__ import annotations

import tracemalloc
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from restore_sdk.errors import BackendError, ImageShapeError, OptionsError
from restore_sdk.image.layout import Layout, inspect, new_output, read_tile, write_tile

DTYPES = ["uint8", "uint16", "float16", "float32", ">u2", ">f4"]
CHANNELS = [0, 1, 3, 4]


def picture(height: int, width: int, channels: int, dtype: str) -> NDArray[Any]:
    rng = np.random.default_rng(height * 100 + width)
    shape = (height, width, channels) if channels else (height, width)
    kind = np.dtype(dtype)
    if kind.kind == "u":
        return rng.integers(0, np.iinfo(kind).max, shape, endpoint=True).astype(kind)
    return rng.uniform(-0.2, 1.2, shape).astype(kind)


def whole(image: NDArray[Any]) -> tuple[slice, slice]:
    return slice(0, image.shape[0]), slice(0, image.shape[1])


def round_trip(image: NDArray[Any], *, order: Any = "rgb", channels: int = 3, clip: bool = False) -> NDArray[Any]:
    layout = inspect(image, order=order)
    output = new_output(image, layout)
    write_tile(output, layout, *whole(image), read_tile(image, layout, *whole(image), channels=channels), clip=clip)
    return output


def padded_planes(image: NDArray[Any], height: int, width: int) -> NDArray[np.float32]:
    """The definition: convert all, reflect all, as (3, height, width)."""
    colour = image[..., None] if image.ndim == 2 else image[..., : 3 if image.shape[2] > 1 else 1]
    white = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    values = colour.astype(np.float32) / np.float32(white)
    below, right = height - image.shape[0], width - image.shape[1]
    padded = np.pad(values, ((0, below), (0, right), (0, 0)), mode="reflect").transpose(2, 0, 1)
    return np.broadcast_to(padded, (3, height, width))


def test_a_layout_says_what_the_array_is() -> None:
    layout = inspect(np.zeros((5, 7, 4), np.uint16), order="bgr")
    assert layout == Layout(5, 7, 4, np.dtype(np.uint16), "bgr")
    assert (layout.has_alpha, layout.is_gray, layout.scale, layout.shape) == (True, False, 65535, (5, 7, 4))
    assert layout.scaled_shape(2) == (10, 14, 4)
    gray = inspect(np.zeros((5, 7), np.float16))
    assert (gray.channels, gray.has_alpha, gray.is_gray, gray.scale, gray.shape) == (0, False, True, 1, (5, 7))
    assert inspect(np.zeros((5, 7, 1), np.uint8)).shape == (5, 7, 1)
    assert inspect(np.zeros((5, 7, 3), np.uint8)).scale == 255


def test_planes_by_hand() -> None:
    image = np.array([[[0, 51, 255], [102, 204, 153]]], np.uint8)
    expected = np.array([[[[0.0, 0.4]], [[0.2, 0.8]], [[1.0, 0.6]]]], np.float32)
    planes = read_tile(image, inspect(image), *whole(image))
    assert planes.dtype == np.float32
    assert planes.flags.c_contiguous
    assert np.array_equal(planes, expected)
    assert np.array_equal(read_tile(image, inspect(image, order="bgr"), *whole(image)), expected[:, ::-1])


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), st.sampled_from(CHANNELS), st.sampled_from(DTYPES), st.data())
def test_a_tile_is_cut_from_the_reflected_whole(
    height: int, width: int, multiple: int, channels: int, dtype: str, data: st.DataObject
) -> None:
    image = picture(height, width, channels, dtype)
    padded = [-(-side // multiple) * multiple for side in (height, width)]
    spans = []
    for length in padded:
        start = data.draw(st.integers(0, length // multiple - 1)) * multiple
        spans.append(slice(start, data.draw(st.integers(start // multiple + 1, length // multiple)) * multiple))
    expected = padded_planes(image, *padded)[:, spans[0], spans[1]]
    assert np.array_equal(read_tile(image, inspect(image), *spans)[0], expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (1, 9), (9, 1), (17, 16)])
def test_a_last_tile_shorter_than_its_padding_reads_back(height: int, width: int) -> None:
    image = picture(height, width, 3, "uint8")
    last = tuple(slice((side - 1) // 8 * 8, (side + 7) // 8 * 8) for side in (height, width))
    expected = padded_planes(image, last[0].stop, last[1].stop)[:, last[0], last[1]]
    assert np.array_equal(read_tile(image, inspect(image), *last)[0], expected)


@settings(deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 12), st.sampled_from(CHANNELS), st.sampled_from(DTYPES), st.sampled_from(["rgb", "bgr"])
)
def test_what_is_read_comes_back_bit_for_bit(height: int, width: int, channels: int, dtype: str, order: str) -> None:
    image = picture(height, width, channels, dtype)
    output = round_trip(image, order=order)
    assert output.dtype == image.dtype
    assert output.tobytes() == image.tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_integer_survives(dtype: str) -> None:
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 256)
    assert np.array_equal(round_trip(values), values)
    assert np.array_equal(round_trip(values, channels=1), values)
    assert np.array_equal(round_trip(np.stack([values] * 3, axis=2)), np.stack([values] * 3, axis=2))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1, ::-1],
        lambda a: a[::2, 1::3],
        np.asfortranarray,
        lambda a: a.swapaxes(0, 1),
        lambda a: a[3:9, 2:5],
        lambda a: a[..., ::-1] if a.ndim == 3 else a[:, ::-1],
        lambda a: np.broadcast_to(a[:1], a.shape),
    ],
    ids=["reversed", "stepped", "fortran", "swapped", "cut", "channels reversed", "repeated"],
)
def test_views_of_any_strides_give_what_their_copies_give(view: Any, channels: int, dtype: str) -> None:
    image = view(picture(11, 13, channels, dtype))
    copy = image.copy(order="C")
    image.setflags(write=False)
    rows, columns = slice(0, -(-image.shape[0] // 4) * 4), slice(0, -(-image.shape[1] // 4) * 4)
    planes = read_tile(image, inspect(image), rows, columns)
    assert np.array_equal(planes, read_tile(copy, inspect(copy), rows, columns))
    assert np.array_equal(round_trip(image), copy)


def test_subclasses_of_arrays_are_read_as_arrays() -> None:
    image = picture(4, 4, 0, "uint8")
    matrix = image.view(np.matrix)
    assert np.array_equal(round_trip(matrix), image)
    assert type(round_trip(matrix)) is np.ndarray


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_tiles_are_converted_strip_by_strip_to_the_same_values(dtype: str, order: Any) -> None:
    image = picture(41, 6001, 3, dtype)
    for view in (image, image[::-1, ::-1], np.asfortranarray(image)):
        assert np.array_equal(round_trip(view, order=order), view)
        planes = read_tile(view, inspect(view, order=order), slice(0, 48), slice(0, 6008))
        assert np.array_equal(planes[0], padded_planes(view, 48, 6008)[:: 1 if order == "rgb" else -1])


@settings(deadline=None)
@given(st.sampled_from(DTYPES), st.sampled_from(CHANNELS), st.integers(1, 3), st.data())
def test_a_tile_is_written_in_its_place_and_nowhere_else(dtype: str, channels: int, scale: int, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 13)), data.draw(st.integers(1, 13))
    layout = inspect(picture(height, width, channels, dtype))
    rows, columns = (slice(data.draw(st.integers(0, side - 1)), -(-side // 8) * 8) for side in (height, width))
    output = np.zeros(layout.scaled_shape(scale), layout.dtype)
    tile = np.ones((1, 3, (rows.stop - rows.start) * scale, (columns.stop - columns.start) * scale), np.float32)
    write_tile(output, layout, rows, columns, tile, scale=scale)
    expected = np.zeros_like(output)
    place = expected[rows.start * scale :, columns.start * scale :]
    place[..., :3] = layout.scale
    if channels == 0:
        place[:] = layout.scale
    assert np.array_equal(output, expected)


@pytest.mark.parametrize(("dtype", "white"), [("uint8", 255), ("uint16", 65535)])
@pytest.mark.parametrize("channels", CHANNELS)
def test_integers_are_clipped_and_rounded_half_to_even_like_numpy(dtype: str, white: int, channels: int) -> None:
    halves = ((np.arange(white) + 0.5) / white).astype(np.float32)
    values = np.concatenate(
        [
            np.random.default_rng(0).uniform(-0.5, 1.5, 4096).astype(np.float32),
            halves,
            np.nextafter(halves, np.float32(0)),
            np.nextafter(halves, np.float32(1)),
            np.array([-1e30, 1e30, -4e4, 4e4, np.inf, -np.inf, 1.0, -0.0], np.float32),
        ]
    )
    expected = np.rint(np.clip(values, 0, 1) * np.float32(white)).astype(dtype)
    shape = (1, len(values), channels) if channels else (1, len(values))
    layout = Layout(1, len(values), channels, np.dtype(dtype))
    output = np.zeros(shape, dtype)
    write_tile(output, layout, slice(0, 1), slice(0, len(values)), np.tile(values, (1, 3, 1, 1)), clip=False)
    colours = output.reshape(len(values), -1)[:, : 3 if channels == 4 else None]
    if channels < 3:
        expected, colours = expected[:-4], colours[:-4]  # the mean of three infinite planes has no value
    assert ((expected == 0) | (expected == white)).any()
    assert np.array_equal(colours, np.broadcast_to(expected[:, None], colours.shape))


def test_nan_becomes_black_in_integers() -> None:
    layout = Layout(1, 4, 3, np.dtype(np.uint8))
    output = np.full((1, 4, 3), 7, np.uint8)
    write_tile(output, layout, slice(0, 1), slice(0, 4), np.full((1, 3, 1, 4), np.nan, np.float32))
    assert (output == 0).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_floats_are_clipped_only_where_asked(dtype: str) -> None:
    image = np.array([[-0.5, 0.25, 1.5]], dtype)
    assert round_trip(image, clip=True).tolist() == [[0.0, 0.25, 1.0]]
    assert round_trip(image, clip=False).tolist() == [[-0.5, 0.25, 1.5]]


def test_float16_is_limited_to_what_it_holds() -> None:
    layout = Layout(1, 2, 0, np.dtype(np.float16))
    output = np.zeros((1, 2), np.float16)
    write_tile(output, layout, slice(0, 1), slice(0, 2), np.array([[[[1e6, -1e6]]]], np.float32), clip=False)
    assert output.tolist() == [[65504.0, -65504.0]]


def test_gray_is_the_mean_of_the_planes() -> None:
    image = np.zeros((1, 2), np.float32)
    layout = inspect(image)
    assert np.array_equal(read_tile(np.array([[0.25, 0.5]], np.float32), layout, *whole(image))[0, :, 0], [[0.25, 0.5]] * 3)
    tile = np.array([0.25, 0.5, 0.75, 0.5, 0.625, 1.0], np.float32).reshape(1, 3, 1, 2)
    output = new_output(image, layout)
    write_tile(output, layout, *whole(image), tile)
    assert output == pytest.approx(np.array([[(0.25 + 0.75 + 0.625) / 3, (0.5 + 0.5 + 1.0) / 3]]))


def test_a_network_of_one_channel_takes_gray_only() -> None:
    gray = picture(4, 4, 1, "uint8")
    assert read_tile(gray, inspect(gray), *whole(gray), channels=1).shape == (1, 1, 4, 4)
    assert np.array_equal(round_trip(gray, channels=1), gray)
    colour = picture(4, 4, 3, "uint8")
    with pytest.raises(ImageShapeError, match="one channel"):
        read_tile(colour, inspect(colour), *whole(colour), channels=1)
    with pytest.raises(OptionsError, match="channels=2"):
        read_tile(gray, inspect(gray), *whole(gray), channels=2)


def test_alpha_is_copied_and_never_read() -> None:
    image = picture(6, 5, 4, "uint16")
    layout = inspect(image)
    output = new_output(image, layout)
    write_tile(output, layout, *whole(image), np.zeros((1, 3, 6, 5), np.float32))
    assert np.array_equal(output[..., 3], image[..., 3])
    assert not output[..., :3].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_alpha_is_enlarged_with_the_image(dtype: str) -> None:
    image = np.full((4, 6, 4), 1, dtype)
    layout = inspect(image)
    image[..., 3] = layout.scale
    assert (new_output(image, layout, scale=2)[..., 3] == layout.scale).all()
    image[:, :3, 3] = 0
    alpha = new_output(image, layout, scale=2)[..., 3]
    assert (alpha.shape, alpha.dtype) == ((8, 12), image.dtype)
    assert (alpha.min(), alpha.max()) == (0, layout.scale)


def test_alpha_is_enlarged_bicubically() -> None:
    image = np.zeros((4, 6, 4), np.float32)
    image[..., 3] = np.linspace(0.2, 0.8, 24, dtype=np.float32).reshape(4, 6)
    alpha = new_output(image, inspect(image), scale=3)[..., 3]
    expected = cv2.resize(image[..., 3], (18, 12), interpolation=cv2.INTER_CUBIC)
    assert np.allclose(alpha, np.clip(expected, 0.2, 0.8))


def test_nothing_is_written_to_the_image_or_the_tile() -> None:
    image, tile = picture(5, 5, 4, "uint8"), np.full((1, 3, 5, 5), 1.5, np.float32)
    image.setflags(write=False)
    tile.setflags(write=False)
    layout = inspect(image)
    output = new_output(image, layout)
    write_tile(output, layout, *whole(image), tile)
    assert (output[..., :3] == 255).all()


@pytest.mark.parametrize("shape", [(1, 3, 4, 3), (1, 3, 3, 4), (1, 1, 4, 4), (1, 4, 4, 4)])
def test_a_tile_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    layout = Layout(4, 4, 3, np.dtype(np.uint8))
    with pytest.raises(BackendError, match="3 planes of at least 4 x 4"):
        write_tile(np.zeros((4, 4, 3), np.uint8), layout, slice(0, 4), slice(0, 4), np.zeros(shape, np.float32))


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_memory_follows_the_tile_not_the_image(dtype: str, channels: int) -> None:
    image = np.zeros((3000, 3000, channels)[: 3 if channels else 2], dtype)
    layout, place = inspect(image), (slice(2984, 3008), slice(1000, 1200))
    output = new_output(image, layout)
    tracemalloc.start()
    try:
        inspect(image)
        tile = read_tile(image, layout, *place)
        write_tile(output, layout, *place, tile)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * tile.nbytes + 400_000  # the image has 9 to 144 MB, the tile 0.06 MB, a strip looked at for NaN 0.26 MB
