"""JPEG against Pillow's codec."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from restore_sdk.degradations import Jpeg, Range, seeded
from restore_sdk.errors import ImageShapeError, OptionsError


def smooth(channels: int) -> torch.Tensor:
    """A picture of slow waves, with 8-bit values."""
    row, column = torch.meshgrid(torch.arange(48), torch.arange(40), indexing="ij")
    planes = [0.5 + 0.4 * torch.sin(row / (3 + k)) * torch.cos(column / (5 - k)) for k in range(channels)]
    return (torch.stack(planes)[None] * 255).round() / 255


def through_pillow(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file)).astype(float)


@pytest.mark.parametrize("quality", [10, 50, 90])
@pytest.mark.parametrize("channels", [1, 3])
def test_pillow_gives_nearly_the_same(channels: int, quality: int) -> None:
    x = smooth(channels)
    operator = Jpeg(quality)
    y = operator.apply(x, operator.sample_theta(x, seeded(0)))
    image = (x[0] * 255).byte().permute(1, 2, 0).numpy()
    wanted = through_pillow(image[..., 0] if channels == 1 else image, quality)
    got = (y[0] * 255).permute(1, 2, 0).numpy().reshape(wanted.shape)
    assert np.abs(got - wanted).mean() < 0.3
    assert np.abs(got - wanted).max() < 8


def test_each_image_has_its_quality() -> None:
    x, operator = smooth(3).expand(3, 3, 48, 40), Jpeg(Range(5, 95))
    theta = operator.sample_theta(x, seeded(0))
    theta.values["quality"].copy_(torch.tensor([95, 30, 5]))
    errors = (operator.apply(x, theta) - x).square().mean((1, 2, 3))
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("channels", [2, 4])
def test_other_numbers_of_channels_are_gray_images(channels: int) -> None:
    x, operator = smooth(channels), Jpeg(30)
    y = operator.apply(x, operator.sample_theta(x, seeded(0)))
    for k in range(channels):
        plane = x[:, k : k + 1]
        assert torch.equal(y[:, k : k + 1], operator.apply(plane, operator.sample_theta(plane, seeded(0))))


def test_red_stays_red() -> None:
    x = torch.zeros(1, 3, 16, 16)
    x[:, 0] = 1
    operator = Jpeg(95)
    y = operator.apply(x, operator.sample_theta(x, seeded(0))).mean((0, 2, 3))
    assert y[0] > 0.95
    assert y[1:].max() < 0.05


def test_sides_beyond_the_codec() -> None:
    x, operator = torch.zeros(1, 1, 1, 65_501), Jpeg()
    with pytest.raises(ImageShapeError, match="65500"):
        operator.apply(x, operator.sample_theta(x, seeded(0)))


def test_quality_out_of_range() -> None:
    with pytest.raises(OptionsError):
        Jpeg(0)
