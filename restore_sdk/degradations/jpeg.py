"""JPEG by the real codec: quantised blocks, chroma at half resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_sdk.degradations.conversions import batch_from_image, image_from_batch
from restore_sdk.degradations.draws import uniform
from restore_sdk.degradations.errors import NotDifferentiableError
from restore_sdk.degradations.operator import Layout, Operator
from restore_sdk.degradations.parameters import Range, check_number
from restore_sdk.degradations.theta import Shape, Theta
from restore_sdk.errors import ImageShapeError

_LONGEST = 65_500  # pixels, the codec's limit of a side


@dataclass(frozen=True)
class Jpeg(Operator):
    """Encoded as JPEG and decoded again, by OpenCV. Not differentiable: apply() refuses an x that asks for a gradient.

    quality: 1..100 (a number, or low..high for each image). Clips to [0, 1] and rounds to 8 bits. Three channels are taken as
    RGB; otherwise each channel is a gray image of its own. theta: "quality", (N,) int64.
    """

    name: ClassVar[str] = "jpeg"
    differentiable: ClassVar[bool] = False
    mixes: ClassVar[bool] = True
    quality: float | Range = 20.0

    def __post_init__(self) -> None:
        check_number("quality", self.quality, 1, 100)

    @property
    def linear(self) -> bool:
        """It is not."""
        return False

    def layout(self, shape: Shape) -> Layout:
        """A whole number for each image."""
        return {"quality": ((shape[0],), torch.int64)}

    def _draw(self, shape: Shape, rng: torch.Generator) -> dict[str, Tensor]:
        return {"quality": uniform((shape[0],), rng, rng.device, self.quality).round().long()}

    def _apply(self, x: Tensor, theta: Theta) -> Tensor:
        if x.requires_grad and torch.is_grad_enabled():
            raise NotDifferentiableError(self.describe())
        if max(x.shape[2:]) > _LONGEST:
            raise ImageShapeError(tuple(x.shape), f"sides of at most {_LONGEST} pixels for JPEG", "cut the image into parts")
        planes = 3 if x.shape[1] == 3 else 1
        groups = x.reshape(-1, planes, *x.shape[2:])
        qualities = theta.values["quality"].repeat_interleave(x.shape[1] // planes).tolist()
        coded = [_through_codec(group[None], quality) for group, quality in zip(groups, qualities, strict=True)]
        return torch.cat(coded).reshape(x.shape).to(x.device, x.dtype)


def _through_codec(x: Tensor, quality: int) -> Tensor:
    image = image_from_batch(x)
    colour = image.ndim == 3
    _, data = cv2.imencode(".jpg", _reversed(image) if colour else image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)
    return batch_from_image(_reversed(np.asarray(decoded)) if colour else np.asarray(decoded))


def _reversed(image: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(image[:, :, ::-1])  # OpenCV's order is BGR
