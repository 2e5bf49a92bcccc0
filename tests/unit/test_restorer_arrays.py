"""Arrays in, arrays out: dtype, shape, order, range, ownership."""

from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest

from restore_sdk.backends.function import FunctionBackend
from restore_sdk.errors import BackendError, ImageShapeError, ImageTypeError, ImageValueError, OptionsError, RestoreWarning
from restore_sdk.host_images import in_range, many_in_range
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

SPEC = ModelSpec(name="f", method="m", task="denoise", size_multiple=4, receptive_radius=0)
WHITE = {"uint8": 255, "uint16": 65535, "float16": 1, "float32": 1}
SHAPES = [(5, 7), (5, 7, 1), (6, 9, 3), (9, 4, 4), (1, 1, 3)]


def image_of(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).random(shape) * WHITE[dtype]
    return (values.round() if dtype.startswith("u") else values).astype(dtype)


def with_function(function, **changes) -> Restorer:
    spec = ModelSpec(**{"name": "f", "method": "m", "task": "denoise", "size_multiple": 4, "receptive_radius": 0, **changes})
    return Restorer(FunctionBackend(spec, function))


@pytest.mark.parametrize("dtype", WHITE)
@pytest.mark.parametrize("shape", SHAPES)
def test_dtype_and_shape_come_out_as_they_went_in(restorer: Restorer, shape: tuple[int, ...], dtype: str) -> None:
    image = image_of(shape, dtype)
    restored = restorer(image)
    assert (restored.shape, restored.dtype) == (image.shape, image.dtype)
    assert not np.shares_memory(restored, image)
    assert restored.flags.c_contiguous
    assert restored.flags.writeable


@pytest.mark.parametrize("dtype", WHITE)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_that_changes_nothing_changes_nothing(shape: tuple[int, ...], dtype: str) -> None:
    image = image_of(shape, dtype)
    np.testing.assert_array_equal(with_function(lambda batch: batch)(image), image)


@pytest.mark.parametrize(
    ("dtype", "value", "halved"), [("uint8", 201, 100), ("uint8", 203, 102), ("uint16", 40001, 20000), ("float32", 0.5, 0.25)]
)
def test_integers_round_half_to_even(dtype: str, value: float, halved: float) -> None:
    restored = with_function(lambda batch: batch * np.float32(0.5))(np.full((4, 4, 3), value, dtype))
    assert (restored == halved).all()


def test_network_sees_red_green_blue_planes_padded_by_reflection() -> None:
    seen = []
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    with_function(lambda batch: seen.append(batch) or batch)(image)
    (batch,) = seen
    padded = np.pad(image, ((0, 2), (0, 1), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(batch, (padded.astype(np.float32) / 255).transpose(2, 0, 1)[None])


@pytest.mark.parametrize("channels", [3, 4])
def test_bgr_is_flipped_rgb(restorer: Restorer, channels: int) -> None:
    rgb = image_of((21, 18, channels), "uint8")
    swapped = [2, 1, 0, 3][:channels]
    np.testing.assert_array_equal(restorer(rgb[..., swapped], channel_order="bgr")[..., swapped], restorer(rgb))
    assert not np.array_equal(restorer(rgb[..., swapped])[..., swapped], restorer(rgb))


def test_constructor_sets_the_order(small_model: Path, restorer: Restorer) -> None:
    rgb = image_of((8, 8, 3), "uint8")
    with Restorer(small_model, device="cpu", threads=1, channel_order="bgr") as bgr:
        np.testing.assert_array_equal(bgr(rgb[..., ::-1])[..., ::-1], restorer(rgb))
        np.testing.assert_array_equal(bgr(rgb, channel_order="rgb"), restorer(rgb))


def test_alpha_is_carried_through(restorer: Restorer) -> None:
    image = image_of((13, 9, 4), "uint16")
    restored = restorer(image)
    np.testing.assert_array_equal(restored[..., 3], image[..., 3])
    np.testing.assert_array_equal(restored[..., :3], restorer(np.ascontiguousarray(image[..., :3])))


def test_gray_is_a_colour_image_of_equal_planes(restorer: Restorer) -> None:
    gray = image_of((12, 12), "float32")
    colour = restorer(np.repeat(gray[..., None], 3, axis=2), clip=False)
    np.testing.assert_allclose(restorer(gray, clip=False), colour.mean(axis=2), atol=1e-6)
    np.testing.assert_array_equal(restorer(gray[..., None])[..., 0], restorer(gray))


def views(image: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "every second column": image[:, ::2],
        "upside down": image[::-1],
        "mirrored": image[:, ::-1],
        "transposed": image.transpose(1, 0, 2),
        "window": image[3:17, 2:15],
        "channels reversed": image[..., ::-1],
        "fortran": np.asfortranarray(image),
        "big endian": image.astype(image.dtype.newbyteorder(">")),
    }


@pytest.mark.parametrize("dtype", WHITE)
@pytest.mark.parametrize("name", list(views(np.zeros((1, 1, 3)))))
def test_any_strides(restorer: Restorer, dtype: str, name: str) -> None:
    view = views(image_of((20, 22, 3), dtype))[name]
    plain = np.ascontiguousarray(view, dtype=view.dtype.newbyteorder("="))
    np.testing.assert_array_equal(restorer(view, tile=16), restorer(plain, tile=16))


@pytest.mark.parametrize("dtype", WHITE)
@pytest.mark.parametrize("shape", [(21, 22), (21, 22, 3), (21, 22, 4)])
@pytest.mark.parametrize("tile", [None, 16])
def test_input_is_never_written_to(restorer: Restorer, dtype: str, shape: tuple[int, ...], tile: int | None) -> None:
    image = image_of(shape, dtype)
    before = image.tobytes()
    image.setflags(write=False)
    restorer(image, tile=tile)
    assert image.tobytes() == before


def test_a_network_that_writes_into_its_input_does_not_reach_the_image() -> None:
    image = image_of((8, 8, 3), "float32")
    before = image.copy()
    with_function(lambda batch: np.multiply(batch, 0, out=batch))(image)
    np.testing.assert_array_equal(image, before)


def test_floats_outside_the_range_reach_the_network_and_come_back() -> None:
    image = np.linspace(-0.5, 1.5, 48, dtype=np.float32).reshape(4, 4, 3)
    half_plus = with_function(lambda batch: batch * np.float32(0.5) + np.float32(0.25))
    np.testing.assert_array_equal(half_plus(image), image * np.float32(0.5) + np.float32(0.25))
    assert half_plus(image).min() == 0.0
    assert half_plus(image).max() == 1.0


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_clip_limits_floats_and_can_be_left(dtype: str) -> None:
    image = np.array([-0.5, 0.25, 1.5], dtype).reshape(1, 1, 3)
    same = with_function(lambda batch: batch)
    np.testing.assert_array_equal(same(image).ravel(), np.array([0, 0.25, 1], dtype))
    np.testing.assert_array_equal(same(image, clip=False), image)
    unclipped = Restorer(FunctionBackend(SPEC, lambda batch: batch), clip=False)
    np.testing.assert_array_equal(unclipped(image), image)
    assert unclipped(image, clip=True).max() == 1


def test_integers_are_limited_to_their_range() -> None:
    stretch = with_function(lambda batch: batch * 4 - 1)
    image = np.array([[0, 64, 255]], np.uint8)
    np.testing.assert_array_equal(stretch(image), [[0, 1, 255]])
    np.testing.assert_array_equal(stretch(image, clip=False), [[0, 1, 255]])


@pytest.mark.parametrize("answer", [None, "text", [1.0], np.zeros((1, 3, 8, 8), np.uint8), np.zeros((1, 3, 8, 8))])
def test_answers_are_looked_at_before_they_are_rescaled(answer: object) -> None:
    batch = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(BackendError, match="expected a numpy array of float32"):
        in_range(lambda _batch: answer, (-1.0, 1.0))(batch)  # type: ignore[arg-type, return-value]
    with pytest.raises(BackendError, match="expected a numpy array of float32"):
        list(many_in_range(lambda _batches: iter([answer]), (-1.0, 1.0))([batch]))  # type: ignore[arg-type, list-item]


@pytest.mark.parametrize(("size", "dtype"), [((20, 20, 3), "uint8"), ((20, 20, 3), "float32")])
def test_a_wrong_number_of_channels_is_told_whole(size: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(BackendError, match=r"returned \(1, 1, 20, 20\), expected 3 planes"):
        with_function(lambda batch: batch[:, :1])(image_of(size, dtype))


def test_other_value_ranges_are_mapped_both_ways() -> None:
    seen = []
    signed = with_function(lambda batch: seen.append(batch) or batch, value_range=(-1.0, 1.0))
    image = np.array([[0, 51, 255]], np.uint8)
    np.testing.assert_array_equal(signed(image), image)
    np.testing.assert_allclose(seen[0][0, 0, 0, :3], [-1, -0.6, 1], atol=1e-6)


def test_scale_enlarges_each_pixel() -> None:
    double = with_function(lambda batch: batch.repeat(2, axis=2).repeat(2, axis=3), scale=2, task="super_resolve")
    image = image_of((18, 33, 3), "uint8")
    for tile in (None, 16):
        np.testing.assert_array_equal(double(image, tile=tile), image.repeat(2, axis=0).repeat(2, axis=1))


def test_one_channel_network_takes_gray_only() -> None:
    gray = with_function(lambda batch: batch, channels=1)
    np.testing.assert_array_equal(gray(image_of((6, 7), "uint8")), image_of((6, 7), "uint8"))
    with pytest.raises(ImageShapeError, match="network of one channel"):
        gray(image_of((6, 7, 3), "uint8"))


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (np.zeros((0, 5, 3), np.uint8), ImageShapeError),
        (np.zeros((5, 5, 2), np.uint8), ImageShapeError),
        (np.zeros((5, 5, 5), np.uint8), ImageShapeError),
        (np.zeros((1, 5, 5, 3), np.uint8), ImageShapeError),
        (np.zeros(5, np.uint8), ImageShapeError),
        (np.zeros((5, 5), np.int64), ImageTypeError),
        (np.zeros((5, 5), np.bool_), ImageTypeError),
        (np.zeros((5, 5), np.float64), ImageTypeError),
        ([[1, 2]], ImageTypeError),
        (np.full((5, 5), np.nan, np.float32), ImageValueError),
        (np.full((5, 5), np.inf, np.float16), ImageValueError),
    ],
)
def test_unusable_images(restorer: Restorer, image: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        restorer(image)


def test_smaller_than_the_minimum() -> None:
    with pytest.raises(ImageShapeError, match="at least 8 x 8 pixels"):
        with_function(lambda batch: batch, min_size=8)(np.zeros((7, 20), np.uint8))


def test_unknown_channel_order(restorer: Restorer) -> None:
    with pytest.raises(OptionsError, match="channel_order='gbr'"):
        restorer(np.zeros((4, 4, 3), np.uint8), channel_order="gbr")
    with pytest.raises(OptionsError, match="channel_order='gbr'"):
        Restorer(FunctionBackend(SPEC, lambda batch: batch), channel_order="gbr")


@pytest.mark.parametrize("clip", ["yes", 1, 0.0, np.True_])
def test_what_is_no_clip(restorer: Restorer, clip: object) -> None:
    with pytest.raises(OptionsError, match=r"clip=.*expected True or False"):
        restorer.restore(image_of((8, 8), "float32"), clip=clip)  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match=r"clip=.*expected True or False"):
        next(restorer.restore_many([image_of((8, 8), "float32")], clip=clip))  # type: ignore[arg-type]


def test_what_cannot_be_called_is_refused_before_the_work(restorer: Restorer, tmp_path: Path) -> None:
    words = r"on_tile=3, expected something to call with \(tiles done, tiles in all\), or None"
    with pytest.raises(OptionsError, match=words):
        restorer.restore(image_of((8, 8), "uint8"), on_tile=3)  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match=words):
        restorer.restore_file(tmp_path / "absent.png", tmp_path / "b.png", on_tile=3)  # type: ignore[arg-type]


def test_floats_that_count_to_255_are_told() -> None:
    image = np.full((4, 4), 200.0, np.float32)
    restorer = with_function(lambda batch: batch)
    with pytest.warns(RestoreWarning, match="reach 200 and white is 1.0"):
        assert (restorer(image) == 1.0).all()
    assert (restorer(image, clip=False) == 200.0).all()


@pytest.mark.parametrize("method", [Restorer.restore, Restorer.restore_many, Restorer.warm_up, Restorer.report])
def test_annotations_can_be_looked_up(method: Callable[..., object]) -> None:
    """As frameworks do that make forms and services of functions."""
    assert "return" in get_type_hints(method)
