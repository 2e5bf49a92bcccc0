"""Arrays in and out: dtypes, channels, masks of either polarity, large images, frames."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from tiny_fits import noise, photo

from restore_sdk import Restorer
from restore_sdk.dip.engine import tiles_of
from restore_sdk.dip.masks import MOST_FILLED
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.results import FitProgress
from restore_sdk.dip.tiles import trusted
from restore_sdk.dip_images import DipImages, checked_mask
from restore_sdk.errors import DeviceUnavailableError, ImageShapeError, MaskError, OptionsError, RestoreWarning
from restore_sdk.options import is_dip

SHORT = DipOptions(width="draft", max_iterations=2)
FILL = np.zeros((20, 24), np.bool_)
FILL[5:9, 6:12] = True


def pixels(*shape: int, dtype: type = np.uint8) -> np.ndarray[Any, Any]:
    drawn = np.random.default_rng(0).integers(0, 256, shape)
    return (
        (drawn / 255).astype(dtype)
        if np.issubdtype(dtype, np.floating)
        else (drawn * (257 if dtype is np.uint16 else 1)).astype(dtype)
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 1), (20, 24, 3), (20, 24, 4)])
def test_same_kind_of_array_out_as_in(dtype: type, shape: tuple[int, ...]) -> None:
    image = pixels(*shape, dtype=dtype)
    before = image.copy()
    made = DipImages("dip-denoise", SHORT, device="cpu").restore(image)
    assert (made.image.shape, made.image.dtype) == (shape, image.dtype)
    assert np.array_equal(image, before)
    assert made.uncertainty.shape == (20, 24)
    assert len(made.outcome.image) == (1 if len(shape) == 2 or shape[2] == 1 else 3)
    if shape[-1] == 4:
        assert np.array_equal(made.image[..., 3], image[..., 3])


def test_channel_order_does_not_change_the_result() -> None:
    image = pixels(20, 24, 3)
    images = DipImages("dip-denoise", SHORT, device="cpu")
    bgr = images.restore(np.ascontiguousarray(image[..., ::-1]), order="bgr")
    assert np.array_equal(bgr.image[..., ::-1], images.restore(image).image)


@pytest.mark.parametrize("mask", [FILL, FILL[..., None], FILL.astype(np.uint8) * 255])
def test_known_pixels_keep_their_values(mask: np.ndarray[Any, Any]) -> None:
    image = pixels(20, 24, 3)
    images = DipImages("dip-inpaint", SHORT, device="cpu")
    restored = images.restore(image, mask).image
    assert np.array_equal(restored[~FILL], image[~FILL])
    assert not np.array_equal(restored[FILL], image[FILL])
    other = np.where(FILL[..., None], np.uint8(255), image)  # what lies in the hole does not matter
    assert np.array_equal(images.restore(other, mask).image, restored)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_super_resolution_scales_both_sides(scale: int) -> None:
    images = DipImages("dip-super-resolve", DipOptions(width="draft", max_iterations=1, scale=scale), device="cpu")
    assert images.restore(pixels(5, 7, 3)).image.shape == (5 * scale, 7 * scale, 3)
    assert images.spec.scale == scale


def test_deblurring_needs_a_kernel() -> None:
    with pytest.raises(OptionsError, match="kernel"):
        DipImages("dip-deblur", SHORT)
    options = DipOptions(width="draft", max_iterations=1, kernel="gaussian-blur:sigma=1")
    assert DipImages("dip-deblur", options, device="cpu").restore(pixels(20, 24)).image.shape == (20, 24)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (None, "needs a mask"),
        (np.ones((20, 24), np.bool_), "marks every pixel.*pass mask == 0"),
        (np.zeros((20, 24), np.uint8), "marks no pixel.*pass mask == 0"),
        (np.full((20, 24), 255, np.uint8), "marks every pixel"),
        (FILL[:-1], "one size"),
        (np.repeat(FILL[..., None], 3, 2), "one size"),
        (FILL.astype(np.uint8), "values such as 1.*mask > 127"),
        (FILL.astype(np.float32), "float32.*mask > 127"),
        (FILL.tolist(), "a list"),
    ],
)
def test_masks_that_cannot_be_meant_are_refused(mask: Any, reason: str) -> None:
    with pytest.raises(MaskError, match=reason):
        DipImages("dip-inpaint", SHORT, device="cpu").restore(pixels(20, 24, 3), mask)


def test_a_mask_where_none_belongs_is_refused() -> None:
    with pytest.raises(MaskError, match="takes no mask"):
        DipImages("dip-denoise", SHORT, device="cpu").restore(pixels(20, 24, 3), FILL)


def test_checked_mask_is_true_where_pixels_are_filled() -> None:
    assert np.array_equal(checked_mask(FILL.astype(np.uint8) * 255, (20, 24)), FILL)


def test_a_mask_that_marks_most_pixels_is_warned_of() -> None:
    with pytest.warns(RestoreWarning, match=r"^95% of the pixels are to be filled; is the mask inverted\? pass mask == 0$"):
        checked_mask(~FILL, (20, 24))
    most = np.zeros(100, np.bool_).reshape(10, 10)
    most[:8] = True
    assert checked_mask(most, (10, 10)).mean() == MOST_FILLED  # so many are meant


def test_names_and_devices() -> None:
    assert is_dip("dip-denoise")
    assert not is_dip("denoise")
    assert not is_dip(3)
    with pytest.raises(OptionsError, match="dip-denoise"):
        DipImages("dip-colourise")
    with pytest.raises(OptionsError, match="device"):
        DipImages("dip-denoise", device="gpu")
    with pytest.raises(DeviceUnavailableError):
        DipImages("dip-denoise", device="cuda:99")
    for threads in (0, "2", True):
        with pytest.raises(OptionsError, match="threads"):
            DipImages("dip-denoise", threads=threads)  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match="precision"):
        DipImages("dip-denoise", DipOptions(precision="bf16"), device="cpu")


def test_images_are_checked_as_ever() -> None:
    with pytest.raises(ImageShapeError):
        DipImages("dip-denoise", SHORT, device="cpu").restore(np.zeros((2, 3, 4, 5), np.uint8))


@pytest.mark.parametrize("name", ["on_tile", "on_progress", "cancelled"])
@pytest.mark.parametrize("error", [RuntimeError("out of memory"), MemoryError(), ValueError("mine")])
def test_errors_of_callbacks_come_out_as_they_are(name: str, error: Exception) -> None:
    asked = 0

    def fail(*_: object) -> bool:
        nonlocal asked
        asked += 1
        if name == "cancelled" and asked == 1:
            return False
        raise error

    images = DipImages("dip-denoise", SHORT, device="cpu")
    with pytest.raises(type(error)) as caught:
        images.restore(pixels(20, 24, 3), **{name: fail})  # type: ignore[arg-type]
    assert caught.value is error
    with pytest.raises(OptionsError, match=f"^{name}=3, expected something to call"):
        images.restore(pixels(20, 24, 3), **{name: 3})  # type: ignore[arg-type]


def test_a_restorer_honours_or_refuses_what_it_is_asked_for() -> None:
    image = pixels(64, 150, 3)
    with Restorer("dip-denoise", device="cpu", tile=96, dip=DipOptions(width="draft", max_iterations=1, batch=1)) as restorer:
        told: list[tuple[int, int]] = []
        assert restorer.restore(image, on_tile=lambda *pair: told.append(pair)).shape == image.shape
        assert told == [(1, 3), (2, 3), (3, 3)]
        report = restorer.report()
        assert (report["options"]["tile"], report["tile"]) == (96, None)  # type: ignore[index]
        with pytest.raises(OptionsError, match=r"^tile='auto', expected nothing here with 'dip-"):
            restorer.restore(image, tile="auto")
    for wish in ({"tile": "exact"}, {"backend": "openvino"}, {"build": "never"}, {"finite": "ignore"}):
        with pytest.raises(OptionsError, match=f"^{next(iter(wish))}=.*for 'dip-...'"):
            Restorer("dip-denoise", **wish)  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match=r"^dip=.*None for a trained model"):
        Restorer("denoise", dip=SHORT)


def test_a_wide_kernel_widens_the_overlap() -> None:
    """Every measured value lies in a tile that has all it depends on; the row of tiles covers the image without a gap."""
    options = DipOptions(width="draft", max_iterations=1, tile=96, overlap=16, kernel=np.ones((25, 25)))  # type: ignore[arg-type]
    looked_at = np.zeros((96, 250), np.bool_)
    for tile in tiles_of(96, 250, "dip-deblur", options):
        looked_at[tile.rows, tile.columns] |= trusted(tile, 12)
    assert looked_at.all()
    narrow = dataclasses.replace(options, tile=64, kernel=np.ones((49, 49)))  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match=r"^tile=64, expected at least 128 pixels, since the kernel is 49 wide"):
        DipImages("dip-deblur", narrow, device="cpu").restore(pixels(96, 250, 3))


def test_the_report_tells_kernels_apart() -> None:
    """A video that is resumed goes by it."""

    def told(kernel: Any) -> str:
        options: Any = DipImages("dip-deblur", DipOptions(kernel=kernel), device="cpu").report()["options"]
        return str(options["kernel"])

    assert told("gaussian-blur:sigma=2") == "gaussian-blur:sigma=2"
    even, other = np.ones((25, 25)), np.eye(25)
    assert told(even).startswith("25 x 25 numbers, SHA-256 ")
    assert told(even) == told(2 * even) != told(other)


def test_a_tile_of_lost_pixels_alone_is_refused_first() -> None:
    lost = np.zeros((64, 112), np.bool_)
    lost[:, :64] = True
    images = DipImages("dip-inpaint", DipOptions(width="draft", max_iterations=1, tile=64, overlap=16), device="cpu")
    with pytest.raises(MaskError, match="nothing is known in the tile of 64 x 64 pixels at row 0, column 0; pass a larger tile"):
        images.restore(pixels(64, 112, 3), lost)
    lost[10, 10] = False
    assert images.restore(pixels(64, 112, 3), lost).image.shape == (64, 112, 3)


def test_report_says_how_it_went() -> None:
    images = DipImages("dip-denoise", SHORT, device="cpu")
    assert images.report()["last_fit"] is None
    images.restore(pixels(20, 24, 3))
    last = images.report()["last_fit"]
    assert isinstance(last, dict)
    assert (last["iterations"], last["stop_reason"], last["device"]) == (2, "max_iterations", "cpu")
    assert images.spec.global_ops == ("BatchNormalization",)
    assert images.infer(np.zeros((1, 3, 16, 16), np.float32)).shape == (1, 3, 16, 16)


def test_tiles_are_told_and_planned() -> None:
    options = DipOptions(width="draft", max_iterations=1, tile=64, overlap=16, batch=2)
    images = DipImages("dip-denoise", options, device="cpu")
    told: list[tuple[int, int]] = []
    progress: list[FitProgress] = []
    made = images.restore(pixels(64, 150, 3), on_tile=lambda *pair: told.append(pair), on_progress=progress.append)
    assert len(made.outcome.fits) == images.plan(64, 150).count == 3
    assert told == [(2, 3), (3, 3)]
    assert [(span.core_start, span.core_stop) for span in images.plan(64, 150).columns] == [(0, 53), (53, 96), (96, 150)]


def test_tiles_agree_at_their_seams() -> None:
    """Where tiles meet, the result steps no more than it does elsewhere."""
    clean = photo(96)
    noisy = np.clip(clean + noise(96, 25 / 255), 0, 1).transpose(1, 2, 0)
    options = {"width": "draft", "max_iterations": 40}
    whole = DipImages("dip-denoise", DipOptions(**options), device="cpu").restore(noisy).image  # type: ignore[arg-type]
    tiled = DipImages("dip-denoise", DipOptions(tile=64, overlap=32, **options), device="cpu").restore(noisy).image  # type: ignore[arg-type]
    target = clean.transpose(1, 2, 0)
    error = [float(np.mean((image - target) ** 2)) for image in (tiled, whole)]
    assert error[0] < 1.5 * error[1]
    steps = np.abs(np.diff(tiled, axis=1)).mean((0, 2))
    inner = np.abs(np.diff(whole, axis=1)).mean((0, 2))
    assert steps[31:64].max() < 1.5 * inner.max()


def test_time_that_is_over_leaves_the_other_tiles_as_they_were() -> None:
    options = DipOptions(width="draft", max_iterations=50, max_seconds=0.0, tile=64, overlap=16, batch=1)
    made = DipImages("dip-denoise", options, device="cpu").restore(pixels(64, 112, 3))
    assert [fit.stop_reason for fit in made.outcome.fits] == ["max_seconds", "not started"]
    assert made.uncertainty[:, 80:].min() == pytest.approx(1)
