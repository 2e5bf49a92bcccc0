"""What every corruption is: y = F(x; theta) + noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_sdk.degradations.errors import NotLinearError, ThetaError
from restore_sdk.degradations.theta import Shape, Theta
from restore_sdk.errors import ImageShapeError, ImageTypeError

Layout: TypeAlias = dict[str, tuple[tuple[int, ...], torch.dtype]]  # name of each tensor in a theta -> its shape and dtype
MOST_CHANNELS = 4
_REMEDY = "pass a batch (N, C, H, W), for example image.permute(2, 0, 1)[None]"


class Operator(ABC):
    """One corruption. A small frozen value: two of equal parameters are equal, and parse(describe()) gives it back.

    Batches are (N, C, H, W) floats, C = 1..4, any H and W, black 0 and white 1; values outside are not clipped unless the
    operator says so. Results have the dtype and device of what was given, which is never written to. A theta is for the very
    shape it was drawn for. Methods raise ImageShapeError or ImageTypeError for what is no such batch, ThetaError for a foreign
    theta.
    """

    name: ClassVar[str]  # in the grammar
    differentiable: ClassVar[bool] = True  # False: gradients through apply() are refused
    noisy: ClassVar[bool] = False  # whether noise() adds any
    changes: ClassVar[bool] = True  # False: apply() returns x
    mixes: ClassVar[bool] = False  # whether a pixel of y depends on several of x

    @property
    def linear(self) -> bool:
        """Whether apply() is linear in x, so that adjoint() exists."""
        return True

    def sample_theta(self, batch: Tensor, rng: torch.Generator) -> Theta:
        """Draw the parameters for each image of `batch`: its shape counts, its values do not. They are computed on the device of
        `rng`, since another one would round them otherwise, and moved to that of `batch`."""
        shape = check_batch(batch)
        return Theta(shape, self._draw(shape, rng)).to(batch.device)

    def apply(self, x: Tensor, theta: Theta) -> Tensor:
        """F(x; theta), without noise; differentiable in x unless `differentiable` is False."""
        self._check(x, theta, theta.shape)
        return self._apply(x, theta)

    def noise(self, y: Tensor, rng: torch.Generator) -> Tensor:
        """y with fresh noise, differentiable in y."""
        check_batch(y)
        return self._noise(y, rng)

    def measure(self, x: Tensor, theta: Theta, rng: torch.Generator) -> Tensor:
        """What a camera would give: noise(apply(x, theta), rng); a composition draws the noise of each step where it arises."""
        return self.noise(self.apply(x, theta), rng)

    def adjoint(self, y: Tensor, theta: Theta) -> Tensor:
        """A^T y, of the shape theta was drawn for: <A x, y> = <x, A^T y>. Raises NotLinearError."""
        if not self.linear:
            raise NotLinearError(self.describe())
        self._check(y, theta, self.output_shape(theta.shape))
        return self._adjoint(y, theta)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of y for images of `shape`."""
        return shape

    def kept(self, theta: Theta) -> Tensor | None:
        """Which values of y were measured, by masks: bool, (N, 1, H, W) or (N, C, H, W); None where no mask says so."""
        return None

    def describe(self) -> str:
        """The operator in the grammar of parse(), with all its parameters."""
        words = [_word(field.name, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]
        return ":".join(filter(None, [self.name, ",".join(filter(None, words))]))

    def layout(self, shape: Shape) -> Layout:
        """The tensors in a theta for images of `shape`: their shapes and dtypes."""
        return {}

    def theta_from_arrays(self, shape: Shape, arrays: Mapping[str, NDArray[Any]], device: torch.device | str = "cpu") -> Theta:
        """A theta out of Theta.arrays(), for images of `shape`. Raises ThetaError for arrays of another operator or size."""
        given = {name: torch.from_numpy(np.array(value)).to(device) for name, value in arrays.items()}
        found, wanted = {name: (tuple(value.shape), value.dtype) for name, value in given.items()}, self.layout(shape)
        if found != wanted:
            raise ThetaError(f"theta holds {found}, {self.describe()} on {shape} needs {wanted}; use the one that was recorded")
        return Theta(shape, given)

    def _draw(self, shape: Shape, rng: torch.Generator) -> dict[str, Tensor]:
        return {}

    @abstractmethod
    def _apply(self, x: Tensor, theta: Theta) -> Tensor: ...

    def _noise(self, y: Tensor, rng: torch.Generator) -> Tensor:
        return y

    def _adjoint(self, y: Tensor, theta: Theta) -> Tensor:
        raise NotLinearError(self.describe())

    def _check(self, batch: Tensor, theta: Theta, wanted: Shape) -> None:
        if check_batch(batch) != wanted:
            raise ThetaError(
                f"theta is for a batch of {wanted}, got one of {tuple(batch.shape)}; draw one with sample_theta(batch)"
            )
        if {name: tuple(value.shape) for name, value in theta.values.items()} != self._shapes(theta.shape):
            raise ThetaError(
                f"theta with {sorted(theta.values)} was not drawn by {self.describe()}; draw one with its sample_theta"
            )
        for name, value in theta.values.items():
            if value.device != batch.device:
                raise ThetaError(
                    f"theta[{name!r}] is on {value.device}, the batch on {batch.device}; pass theta.to(batch.device)"
                )

    def _shapes(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        return {name: wanted for name, (wanted, _) in self.layout(shape).items()}


def check_batch(batch: Tensor) -> Shape:
    """The shape of a batch of images. Raises ImageShapeError, ImageTypeError."""
    if not isinstance(batch, Tensor):
        raise ImageTypeError(type(batch).__name__, "a torch.Tensor", "make it one with torch.from_numpy")
    if batch.ndim != 4 or not 1 <= batch.shape[1] <= MOST_CHANNELS or 0 in batch.shape:
        raise ImageShapeError(tuple(batch.shape), f"(N, C, H, W) with C from 1 to {MOST_CHANNELS} and no empty axis", _REMEDY)
    if not batch.is_floating_point():
        raise ImageTypeError(str(batch.dtype), "floats with white at 1", "convert it with batch.float() / 255")
    count, channels, height, width = batch.shape
    return count, channels, height, width


def _word(key: str, value: object) -> str:
    if isinstance(value, bool):
        return key if value else ""
    return f"{key}={value!r}" if isinstance(value, float) else f"{key}={value}"
