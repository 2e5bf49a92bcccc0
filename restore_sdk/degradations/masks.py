"""Corruptions that lose pixels: y = keep * x, with a mask for each image."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from restore_sdk.degradations.draws import integers, uniform
from restore_sdk.degradations.errors import ThetaError
from restore_sdk.degradations.operator import Layout, Operator, check_batch
from restore_sdk.degradations.parameters import Range, check_choice, check_number, limits, share_of
from restore_sdk.degradations.theta import Shape, Theta
from restore_sdk.errors import OptionsError


class Mask(Operator):
    """Base of all masks. theta: "keep", (N, 1, H, W) bool, True where the pixel is kept; for channels of their own, (N, C, H, W).

    Lost pixels become `fill`: 0 by default; 0.5, the zero of references that work in [-1, 1], makes the operator affine.
    """

    per_channel: ClassVar[bool] = False
    fill: float
    gain: float = 1.0  # of the kept pixels

    @property
    def linear(self) -> bool:
        """True if lost pixels become 0."""
        return self.fill == 0

    def theta_from_mask(self, keep: Tensor, batch: Tensor) -> Theta:
        """Theta for a mask that is known: bool, True where kept, broadcastable to (N, 1, H, W) of `batch`. Raises ThetaError."""
        shape, device = check_batch(batch), batch.device
        ((wanted, _),) = self.layout(shape).values()
        if keep.dtype != torch.bool:
            raise ThetaError(
                f"a mask of {keep.dtype}, expected torch.bool, True where a pixel is kept; pass for example mask > 0.5"
            )
        try:
            return Theta(shape, {"keep": keep.to(device).broadcast_to(wanted).clone()})
        except RuntimeError as exc:
            raise ThetaError(f"a mask of {tuple(keep.shape)} does not fit {wanted}; give it the size of the images") from exc

    def kept(self, theta: Theta) -> Tensor:
        """The mask itself."""
        return theta.values["keep"]

    def layout(self, shape: Shape) -> Layout:
        """One mask for each image."""
        count, channels, height, width = shape
        return {"keep": ((count, channels if self.per_channel else 1, height, width), torch.bool)}

    def _draw(self, shape: Shape, rng: torch.Generator) -> dict[str, Tensor]:
        ((wanted, _),) = self.layout(shape).values()
        return {"keep": self._keep(shape, rng).broadcast_to(wanted).contiguous()}

    @abstractmethod
    def _keep(self, shape: Shape, rng: torch.Generator) -> Tensor: ...

    def _apply(self, x: Tensor, theta: Theta) -> Tensor:
        return torch.where(theta.values["keep"], x if self.gain == 1 else x * self.gain, self.fill)

    def _adjoint(self, y: Tensor, theta: Theta) -> Tensor:
        return self._apply(y, theta)


@dataclass(frozen=True)
class GivenMask(Mask):
    """A mask that is known: theta_from_mask(keep, batch). Drawn thetas keep every pixel."""

    name: ClassVar[str] = "given-mask"
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_number("fill", self.fill, 0, 1)

    def _keep(self, shape: Shape, rng: torch.Generator) -> Tensor:
        return torch.ones((shape[0], 1, *shape[2:]), dtype=torch.bool, device=rng.device)


@dataclass(frozen=True)
class RemovePixel(Mask):
    """Pixels at random places are lost, in all channels alike (UNIR's Remove-Pixel, AmbientGAN's drop-independent).

    p: share lost, or low..high for each image. Exactly floor(p * H * W), or each pixel with that probability (`bernoulli`).
    rescale: kept pixels are multiplied by 1 / (1 - p), as AmbientGAN does, so that the mean stays.
    """

    name: ClassVar[str] = "remove-pixel"
    p: float | Range = 0.9
    fill: float = 0.0
    bernoulli: bool = False
    rescale: bool = False

    def __post_init__(self) -> None:
        check_number("p", self.p, 0, 1)
        check_number("fill", self.fill, 0, 1)
        if self.rescale and (isinstance(self.p, Range) or self.p == 1):
            raise OptionsError("p", self.p, "one number below 1 where the kept pixels are rescaled by 1 / (1 - p)")

    @property
    def gain(self) -> float:  # type: ignore[override]
        """1 / (1 - p) or 1."""
        return 1 / (1 - limits(self.p).low) if self.rescale else 1.0

    def _keep(self, shape: Shape, rng: torch.Generator) -> Tensor:
        count, channels, height, width = shape
        planes = channels if self.per_channel else 1
        chosen = choose(planes * height * width, self.p, self.bernoulli, count, rng)
        return ~chosen.view(count, planes, height, width)


@dataclass(frozen=True)
class RemovePixelChannel(RemovePixel):
    """Single values are lost, each channel on its own (UNIR's Remove-Pixel-Channel): exactly floor(p * C * H * W) in every image.

    The reference counts over the batch, so that its images lose unequal shares, which a discriminator can see.
    """

    name: ClassVar[str] = "remove-pixel-channel"
    per_channel: ClassVar[bool] = True


Axis = Literal["rows", "columns"]


@dataclass(frozen=True)
class PatchBand(Mask):
    """A band across the whole image is lost: floor(share * H) rows from a uniform place on, or columns (UNIR's Patch-Band)."""

    name: ClassVar[str] = "patch-band"
    share: float = 0.3
    axis: Axis = "rows"
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_number("share", self.share, 0, 1)
        check_number("fill", self.fill, 0, 1)
        check_choice("axis", self.axis, get_args(Axis))

    def _keep(self, shape: Shape, rng: torch.Generator) -> Tensor:
        if self.axis == "rows":
            return ~_run(shape[2], self.share, shape[0], rng)[:, None, :, None]
        return ~_run(shape[3], self.share, shape[0], rng)[:, None, None, :]


@dataclass(frozen=True)
class KeepPatch(Mask):
    """All is lost but a patch of floor(share * H) x floor(share * W) pixels at a uniform place (AmbientGAN: 32 of 64)."""

    name: ClassVar[str] = "keep-patch"
    share: float = 0.5
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_number("share", self.share, 0, 1)
        check_number("fill", self.fill, 0, 1)

    def _keep(self, shape: Shape, rng: torch.Generator) -> Tensor:
        rows = _run(shape[2], self.share, shape[0], rng)
        columns = _run(shape[3], self.share, shape[0], rng)
        return rows[:, None, :, None] & columns[:, None, None, :]


@dataclass(frozen=True)
class DropPatch(KeepPatch):
    """The patch that KeepPatch keeps is lost, the rest is kept."""

    name: ClassVar[str] = "drop-patch"

    def _keep(self, shape: Shape, rng: torch.Generator) -> Tensor:
        return ~super()._keep(shape, rng)


@dataclass(frozen=True)
class DropRows(Mask):
    """Whole rows at random places are lost: exactly floor(p * H), or each with that probability (`bernoulli`, as AmbientGAN)."""

    name: ClassVar[str] = "drop-rows"
    p: float = 0.5
    fill: float = 0.0
    bernoulli: bool = False

    def __post_init__(self) -> None:
        check_number("p", self.p, 0, 1)
        check_number("fill", self.fill, 0, 1)

    def _keep(self, shape: Shape, rng: torch.Generator) -> Tensor:
        return ~choose(shape[2], self.p, self.bernoulli, shape[0], rng)[:, None, :, None]


@dataclass(frozen=True)
class DropColumns(DropRows):
    """Whole columns at random places are lost, as DropRows."""

    name: ClassVar[str] = "drop-columns"

    def _keep(self, shape: Shape, rng: torch.Generator) -> Tensor:
        return ~choose(shape[3], self.p, self.bernoulli, shape[0], rng)[:, None, None, :]


def choose(length: int, share: float | Range, bernoulli: bool, count: int, rng: torch.Generator) -> Tensor:
    """(count, length) bool on the generator's device: floor(share * length) True in each row, or each with that probability. Of a
    range, each row has a share of its own."""
    if isinstance(share, Range):
        shares = uniform((count,), rng, rng.device, share).tolist()
        return torch.cat([choose(length, own, bernoulli, 1, rng) for own in shares]) if shares else torch.empty(0, length) > 0
    scores = uniform((count, length), rng, rng.device)
    if bernoulli:
        return scores < share
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    return chosen.scatter_(1, scores.topk(share_of(share, length), dim=1).indices, True)


def _run(length: int, share: float, count: int, rng: torch.Generator) -> Tensor:
    """(count, length) bool: floor(share * length) True in a row, from a uniform place on."""
    covered = share_of(share, length)
    start = integers(length - covered + 1, (count, 1), rng)
    place = torch.arange(length, device=rng.device)
    return (place >= start) & (place < start + covered)
