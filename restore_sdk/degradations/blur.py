"""Convolutions: each image with its own kernel, and what noise follows."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from restore_sdk.degradations.borders import Border, extend, fold
from restore_sdk.degradations.conversions import std_from_signed
from restore_sdk.degradations.draws import normal_like, uniform
from restore_sdk.degradations.errors import ThetaError
from restore_sdk.degradations.operator import Layout, Operator, check_batch
from restore_sdk.degradations.parameters import STRONGEST, Range, check_choice, check_number, check_whole, limits
from restore_sdk.degradations.theta import Shape, Theta

_TRUNCATE = 4.0  # standard deviations, where a Gaussian kernel ends
_LARGEST = 1001  # pixels, side of a kernel
_ANY_ANGLE = Range(0.0, 180.0)  # degrees


class Convolution(Operator):
    """Base of all blurs. theta: kernels, float32, "vertical" (N, K, 1) and "horizontal" (N, 1, K), applied in turn."""

    mixes: ClassVar[bool] = True
    border: Border

    @property
    @abstractmethod
    def radius(self) -> int:
        """Of the kernel, (K - 1) / 2 pixels."""

    def layout(self, shape: Shape) -> Layout:
        """Kernels by name."""
        side = 2 * self.radius + 1
        return {"vertical": ((shape[0], side, 1), torch.float32), "horizontal": ((shape[0], 1, side), torch.float32)}

    def _apply(self, x: Tensor, theta: Theta) -> Tensor:
        for kernel in self._kernels(theta):
            x = convolve(x, kernel, self.border)
        return x

    def _adjoint(self, y: Tensor, theta: Theta) -> Tensor:
        for kernel in reversed(self._kernels(theta)):
            y = convolve_adjoint(y, kernel, self.border)
        return y

    def _kernels(self, theta: Theta) -> list[Tensor]:
        return [theta.values[name] for name in self.layout(theta.shape)]  # in this order, whatever that of a recording


@dataclass(frozen=True)
class GaussianBlur(Convolution):
    """Blur by a Gaussian of standard deviation `sigma` pixels (a number, or low..high for each image), cut off at 4 sigma."""

    name: ClassVar[str] = "gaussian-blur"
    sigma: float | Range = 1.5
    border: Border = "reflect"

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma, 0, _LARGEST / 2 / _TRUNCATE - 1, "pixels")
        check_choice("border", self.border, get_args(Border))

    @property
    def radius(self) -> int:
        """Four standard deviations of the widest."""
        return int(_TRUNCATE * limits(self.sigma).high + 0.5)

    def _draw(self, shape: Shape, rng: torch.Generator) -> dict[str, Tensor]:
        sigma = uniform((shape[0], 1), rng, rng.device, self.sigma)
        return _separable(_gaussian(sigma, self.radius))


@dataclass(frozen=True)
class ConvolveNoise(Convolution):
    """Blur by a box or a Gaussian, then white Gaussian noise (UNIR's Convolve-Noise, AmbientGAN's blur-addnoise).

    size: side of the kernel, odd, pixels; spread: standard deviation of the Gaussian kernel, pixels; sigma: of the noise. The
    reference's 0.3, called a variance and used as a standard deviation of [-1, 1] values, is 0.15 here.
    """

    name: ClassVar[str] = "convolve-noise"
    noisy: ClassVar[bool] = True
    size: int = 5
    kernel: Literal["box", "gaussian"] = "box"
    spread: float = 1.0
    sigma: float = std_from_signed(0.3)
    border: Border = "zero"

    def __post_init__(self) -> None:
        check_whole("size", self.size, 1, _LARGEST, "pixels")
        check_whole("size", self.size if self.size % 2 else None, 1, _LARGEST, "that is odd")
        check_choice("kernel", self.kernel, ("box", "gaussian"))
        check_number("spread", self.spread, 1e-3, _LARGEST, "pixels")
        check_number("sigma", self.sigma, 0, STRONGEST)
        check_choice("border", self.border, get_args(Border))

    @property
    def radius(self) -> int:
        """Half the size."""
        return self.size // 2

    def _draw(self, shape: Shape, rng: torch.Generator) -> dict[str, Tensor]:
        if self.kernel == "gaussian":
            return _separable(_gaussian(uniform((shape[0], 1), rng, rng.device, self.spread), self.radius))
        return _separable(uniform((shape[0], self.size), rng, rng.device, 1 / self.size))

    def _noise(self, y: Tensor, rng: torch.Generator) -> Tensor:
        return y + self.sigma * normal_like(y, rng)


@dataclass(frozen=True)
class MotionBlur(Convolution):
    """Blur along a straight line, as of a moving camera. theta: "kernel", (N, K, K).

    length: of the line, pixels; angle: degrees, counter-clockwise from the horizontal. Each a number, or low..high.
    """

    name: ClassVar[str] = "motion-blur"
    length: float | Range = 9.0
    angle: float | Range = _ANY_ANGLE
    border: Border = "reflect"

    def __post_init__(self) -> None:
        check_number("length", self.length, 1, _LARGEST - 2, "pixels")
        check_number("angle", self.angle, -360, 360, "degrees")
        check_choice("border", self.border, get_args(Border))

    @property
    def radius(self) -> int:
        """Enough for the longest line in any direction."""
        return math.ceil((limits(self.length).high - 1) / 2)

    def layout(self, shape: Shape) -> Layout:
        """One kernel for each image."""
        side = 2 * self.radius + 1
        return {"kernel": ((shape[0], side, side), torch.float32)}

    def _draw(self, shape: Shape, rng: torch.Generator) -> dict[str, Tensor]:
        length, angle = (uniform((shape[0], 1, 1), rng, rng.device, span) for span in (self.length, self.angle))
        return {"kernel": _line(length, angle * math.pi / 180, self.radius)}


@dataclass(frozen=True)
class GivenBlur(Convolution):
    """Blur by a kernel that is known, `size` x `size` pixels: theta_from_kernel(kernel, batch). Drawn thetas leave x as it is.

    y[i, j] = sum over k, l of kernel[k, l] * x[i - k + r, j - l + r], r = (size - 1) / 2: a true convolution.
    """

    name: ClassVar[str] = "given-blur"
    size: int = 5
    border: Border = "reflect"

    def __post_init__(self) -> None:
        check_whole("size", self.size, 1, _LARGEST, "pixels")
        check_whole("size", self.size if self.size % 2 else None, 1, _LARGEST, "that is odd")
        check_choice("border", self.border, get_args(Border))

    @property
    def radius(self) -> int:
        """Half the size."""
        return self.size // 2

    def layout(self, shape: Shape) -> Layout:
        """One kernel for each image."""
        return {"kernel": ((shape[0], self.size, self.size), torch.float32)}

    def theta_from_kernel(self, kernel: Tensor, batch: Tensor) -> Theta:
        """Theta of one kernel (size, size) for all images, or (N, size, size); used as it is. Raises ThetaError."""
        shape = check_batch(batch)
        ((wanted, dtype),) = self.layout(shape).values()
        try:
            return Theta(shape, {"kernel": kernel.to(batch.device, dtype).broadcast_to(wanted).clone()})
        except RuntimeError as exc:
            raise ThetaError(
                f"a kernel of {tuple(kernel.shape)} does not fit {wanted}; make GivenBlur(size=...) of its side"
            ) from exc

    def _draw(self, shape: Shape, rng: torch.Generator) -> dict[str, Tensor]:
        kernel = torch.zeros((shape[0], self.size, self.size), device=rng.device, dtype=torch.float32)
        kernel[:, self.radius, self.radius] = 1
        return {"kernel": kernel}


def convolve(x: Tensor, kernels: Tensor, border: Border) -> Tensor:
    """(N, C, H, W) with kernels (N, K, L) of odd sides, one for each image: true convolution, same size."""
    rows, columns = kernels.shape[1] // 2, kernels.shape[2] // 2
    wide = extend(x, rows, columns, border)
    result = functional.conv2d(_as_one(wide), _weights(kernels.flip(1, 2), x), groups=x.shape[0] * x.shape[1])
    return result.view(x.shape)


def convolve_adjoint(y: Tensor, kernels: Tensor, border: Border) -> Tensor:
    """The adjoint of convolve()."""
    rows, columns = kernels.shape[1] // 2, kernels.shape[2] // 2
    wide = functional.conv_transpose2d(_as_one(y), _weights(kernels.flip(1, 2), y), groups=y.shape[0] * y.shape[1])
    return fold(wide.view(*y.shape[:2], *wide.shape[2:]), rows, columns, border)


def _as_one(x: Tensor) -> Tensor:
    return x.reshape(1, -1, *x.shape[2:])  # N * C groups, since conv2d has one set of kernels for the whole batch


def _weights(kernels: Tensor, x: Tensor) -> Tensor:
    return kernels.to(x.dtype).repeat_interleave(x.shape[1], 0)[:, None]


def _separable(kernel: Tensor) -> dict[str, Tensor]:
    return {"vertical": kernel[:, :, None], "horizontal": kernel[:, None, :]}


def _gaussian(sigma: Tensor, radius: int) -> Tensor:
    """(N, 1) standard deviations -> (N, 2 radius + 1) with sum 1; a deviation of 0 gives a single 1."""
    place = torch.arange(-radius, radius + 1, device=sigma.device)
    return torch.softmax(-(place**2) / (2 * sigma.clamp(min=1e-3) ** 2), dim=1)


def _line(length: Tensor, angle: Tensor, radius: int) -> Tensor:
    """(N, 1, 1) lengths and angles -> (N, K, K), sum 1: along its steeper axis each pixel gets the length of line over it, shared
    between the two nearest pixels across."""
    place = torch.arange(-radius, radius + 1, device=length.device, dtype=torch.float32)
    down, right = place[None, :, None], place[None, None, :]
    flat = torch.cos(angle).abs() >= torch.sin(angle).abs() - 1e-6
    along, across = torch.where(flat, right, -down), torch.where(flat, -down, right)
    major, minor = torch.where(flat, torch.cos(angle), torch.sin(angle)), torch.where(flat, torch.sin(angle), torch.cos(angle))
    end = length * major.abs() / 2
    covered = (torch.minimum(along + 0.5, end) - torch.maximum(along - 0.5, -end)).clamp(min=0)
    kernel = covered * (1 - (across - along * minor / major).abs()).clamp(min=0)
    return kernel / kernel.sum((1, 2), keepdim=True)
