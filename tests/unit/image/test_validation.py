from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from restore_sdk.errors import ImageShapeError, ImageTypeError, ImageValueError, OptionsError
from restore_sdk.image import layout
from restore_sdk.image.layout import inspect


class ForeignTensor:
    """Stands for an array of another library."""


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", ">u2", ">f2", ">f4"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (2, 3, 1), (2, 3, 3), (2, 3, 4)])
def test_every_documented_array_is_accepted(shape: tuple[int, ...], dtype: str) -> None:
    assert inspect(np.ones(shape, dtype)).shape == shape


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("torch", r"image\.permute\(1, 2, 0\)\.cpu\(\)\.numpy\(\)"),
        ("cupy._core.core", r"image\.get\(\)"),
        ("jaxlib", r"np\.asarray\(image\)"),
    ],
)
def test_arrays_of_other_libraries_are_refused_with_the_conversion(
    module: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ForeignTensor, "__module__", module)
    with pytest.raises(ImageTypeError, match=remedy) as caught:
        inspect(ForeignTensor())
    assert caught.value.got == f"a {module}.ForeignTensor"


def test_pillow_images_lists_and_paths_are_refused_with_the_conversion() -> None:
    with pytest.raises(ImageTypeError, match=r"PIL\.Image\.Image, expected a numpy array; pass np\.asarray\(image\)"):
        inspect(Image.new("RGB", (4, 4)))
    remedies = [
        ([[1, 2], [3, 4]], r"pass np\.asarray\(image, dtype=np\.uint8\)"),
        (None, "check the path"),
        ("a.png", "restore_file"),
    ]
    for value, remedy in remedies:
        with pytest.raises(ImageTypeError, match=remedy):
            inspect(value)


def test_a_torch_tensor_is_refused_with_the_conversion() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ImageTypeError, match=r"torch\.Tensor.*permute"):
        inspect(torch.zeros(3, 4, 4))


def test_a_masked_array_is_refused() -> None:
    with pytest.raises(ImageTypeError, match=r"image\.filled\(0\)"):
        inspect(np.ma.zeros((4, 4), dtype=np.uint8))


@pytest.mark.parametrize(
    ("dtype", "remedy"),
    [
        ("int64", r"astype\(np\.uint8\)"),
        ("uint32", r"astype\(np\.uint16\)"),
        ("float64", r"astype\(np\.float32\)"),
        ("bool", r"astype\(np\.uint8\) \* 255"),
        ("complex64", r"np\.abs\(image\)"),
        ("object", r"astype\(np\.float32\)"),
        ("U1", r"astype\(np\.float32\)"),
    ],
)
def test_other_dtypes_are_refused_with_the_conversion(dtype: str, remedy: str) -> None:
    with pytest.raises(ImageTypeError, match=f"expected uint8, uint16, float16 or float32; .*{remedy}"):
        inspect(np.zeros((4, 4), dtype))


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((), r"\(height, width\)"),
        ((4,), r"\(height, width\)"),
        ((2, 4, 4, 3), r"restore_many\(images\)"),
        ((1, 1, 4, 4, 3), r"np\.squeeze"),
        ((0, 4), "empty"),
        ((4, 0, 3), "empty"),
        ((4, 4, 0), "empty"),
        ((4, 4, 2), r"image\[\.\.\., 0\]"),
        ((5, 4, 5), r"image\[\.\.\., :3\]"),
        ((3, 40, 50), r"transpose\(1, 2, 0\)"),
        ((1, 40, 50), r"transpose\(1, 2, 0\)"),
    ],
)
def test_other_shapes_are_refused_with_the_remedy(shape: tuple[int, ...], remedy: str) -> None:
    with pytest.raises(ImageShapeError, match=remedy) as caught:
        inspect(np.zeros(shape, np.uint8))
    assert caught.value.got == shape


def test_an_image_below_the_smallest_size_is_refused() -> None:
    assert inspect(np.zeros((8, 9), np.uint8), min_size=8).height == 8
    for shape in ((7, 9), (9, 7, 3)):
        with pytest.raises(ImageShapeError, match="at least 8 x 8 pixels"):
            inspect(np.zeros(shape, np.uint8), min_size=8)


@pytest.mark.parametrize(("dtype", "side"), [("uint8", 1 << 31), ("float32", 1 << 30), ("float16", 1 << 20)])
def test_one_value_repeated_beyond_all_memory_is_not_looked_at(dtype: str, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "check_finite", lambda _: pytest.fail("it was looked at"))
    with pytest.raises(ImageShapeError, match="at most 68719476736 pixels; restore a file of that size with restore_file"):
        inspect(np.broadcast_to(np.zeros((), dtype), (side, side)))


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (700, 500, 4)])
def test_nan_and_infinity_are_counted(shape: tuple[int, ...], dtype: str) -> None:
    image = np.ones(shape, dtype)
    image[0, 0], image[-1, -1], image[2, 3] = np.nan, np.inf, -np.inf
    for view in (image, image[::-1, ::-1], image.swapaxes(0, 1)):
        with pytest.raises(ImageValueError) as caught:
            inspect(view)
        assert caught.value.count == 3 * int(np.prod(shape[2:]))


def test_the_largest_finite_values_are_no_infinity() -> None:
    for dtype in (np.float16, np.float32):
        assert inspect(np.full((64, 64), np.finfo(dtype).max, dtype)).scale == 1


def test_an_unknown_order_is_refused() -> None:
    wrong: Any = "hsv"
    with pytest.raises(OptionsError, match="'rgb' or 'bgr'") as caught:
        inspect(np.zeros((4, 4, 3), np.uint8), order=wrong)
    assert caught.value.name == "channel_order"
