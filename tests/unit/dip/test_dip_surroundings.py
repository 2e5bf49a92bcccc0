"""What the caller's thread has set, and what its callbacks raise: a fit depends on neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest
import torch
from tiny_fits import photo

from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.results import FitProgress
from restore_sdk.dip_images import DipImages
from restore_sdk.errors import DeviceMemoryError, RestoreWarning

SHORT = DipOptions(width="draft", max_iterations=3, kernel="gaussian-blur:sigma=1")
IMAGE = np.ascontiguousarray(photo(32).transpose(1, 2, 0))


@contextmanager
def double_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("task", ["dip-denoise", "dip-super-resolve", "dip-deblur"])
@pytest.mark.parametrize(
    "setting",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.device("meta"),
        double_by_default,
    ],
    ids=["no_grad", "inference_mode", "autocast", "default device", "default dtype"],
)
def test_the_same_result_whatever_the_thread_has_set(task: str, setting: Callable[[], AbstractContextManager[object]]) -> None:
    images = DipImages(task, SHORT, device="cpu")
    want = images.restore(IMAGE).image
    with setting():
        got = images.restore(IMAGE).image
    np.testing.assert_array_equal(got, want)


def test_a_callbacks_lack_of_memory_is_its_own() -> None:
    """The fit is not begun anew with fewer tiles."""
    calls: list[int] = []

    def told(progress: FitProgress) -> None:
        calls.append(progress.iteration)
        raise DeviceMemoryError(7, 5, None)

    options = DipOptions(width="draft", max_iterations=3, tile=64, overlap=16)
    with pytest.raises(DeviceMemoryError) as caught:
        DipImages("dip-denoise", options, device="cpu").restore(np.zeros((64, 112, 3), np.uint8), on_progress=told)
    assert (caught.value.required, calls) == (7, [1])


def test_tiles_without_a_hole_are_taken_over() -> None:
    image, mask = np.full((64, 160, 3), 90, np.uint8), np.zeros((64, 160), np.bool_)
    mask[20:30, 2:8] = True
    options = DipOptions(width="draft", max_iterations=2, tile=64, overlap=16)
    made = DipImages("dip-inpaint", options, device="cpu").restore(image, mask)
    assert [fit.stop_reason for fit in made.outcome.fits] == ["max_iterations", "nothing to fill", "nothing to fill"]
    assert made.outcome.report()["stop_reason"] == "max_iterations"
    assert (made.uncertainty[:, 100:] == 0).all()


def test_frames_with_such_tiles_start_from_the_weights_before() -> None:
    frame, mask = np.full((64, 160, 3), 90, np.uint8), np.zeros((64, 160), np.bool_)
    mask[20:30, 2:8] = True
    options = DipOptions(width="draft", max_iterations=4, warm=2, tile=64, overlap=16)
    first, second = DipImages("dip-inpaint", options, device="cpu").frames([frame, frame], mask)
    assert [fit.iterations for fit in (*first.outcome.fits, *second.outcome.fits)] == [4, 0, 0, 2, 0, 0]


def test_floats_that_count_to_255_are_warned_of() -> None:
    with pytest.warns(RestoreWarning, match="float values reach 200"):
        DipImages("dip-denoise", SHORT, device="cpu").restore(np.full((16, 16, 3), 200, np.float32))


def test_known_pixels_end_in_range_unless_clip_is_off() -> None:
    image, mask = np.full((16, 16, 3), 1.25, np.float32), np.zeros((16, 16), np.bool_)
    mask[4:6, 4:6] = True
    images = DipImages("dip-inpaint", SHORT, device="cpu")
    assert images.restore(image, mask).image.max() == 1.0
    assert images.restore(image, mask, clip=False).image.max() == 1.25


def test_a_value_that_overflows_the_loss_leaves_a_picture() -> None:
    image = IMAGE.copy()
    image[3, 4] = 1e25
    made = DipImages("dip-denoise", SHORT, device="cpu").restore(image, clip=False)
    assert made.image.shape == image.shape
    assert np.isfinite(made.image).all()
