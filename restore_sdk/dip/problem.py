"""What is fitted: y = F(x), which values of y were measured, and which of those are kept out of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from restore_sdk.degradations import (
    Composition,
    CorruptionSpecError,
    Downsample,
    GaussianBlur,
    GivenBlur,
    GivenMask,
    Identity,
    MotionBlur,
    Operator,
    Range,
    Theta,
    parse,
    seeded,
    stack_thetas,
)
from restore_sdk.dip.held_out import held_out
from restore_sdk.dip.options import DipOptions
from restore_sdk.errors import OptionsError
from restore_sdk.options import DipTask

_HELD_OUT_STREAM = 1  # of the seed; 0 draws weights and inputs


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One or more images of one size, each measured by its own theta of one operator.

    measured  y, (N, C, h, w) float32
    fitted    (N, 1, h, w) bool, True where a value enters the loss
    held_out  the same, True where it was measured but kept out of it
    """

    operator: Operator
    theta: Theta
    measured: Tensor
    fitted: Tensor
    held_out: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what is sought."""
        return self.theta.shape[1:]

    @property
    def count(self) -> int:
        """Images."""
        return self.theta.shape[0]

    def residuals(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared residual of each image over the fitted values (differentiable) and over those held out; (N,) each."""
        squared = (self.operator.apply(x, self.theta) - self.measured).square().mean(1, keepdim=True)
        return _mean(squared, self.fitted), _mean(squared.detach(), self.held_out)

    def constants(self) -> tuple[Tensor, ...]:
        """What F computes with and nobody else may hold; on the device of `measured`."""
        return self.operator.matrices(self.theta.shape, self.measured) if isinstance(self.operator, Downsample) else ()

    def select(self, images: Sequence[int]) -> Problem:
        """Some of the images only."""
        chosen = list(images)
        theta = stack_thetas([self.theta[image : image + 1] for image in chosen])
        tensors = (value[chosen] for value in (self.measured, self.fitted, self.held_out))
        return Problem(self.operator, theta, *tensors)

    def to(self, device: torch.device) -> Problem:
        """The same on another device."""
        tensors = (value.to(device) for value in (self.measured, self.fitted, self.held_out))
        return Problem(self.operator, self.theta.to(device), *tensors)


def operator_of(task: DipTask, options: DipOptions) -> Operator:
    """F of a task. Raises OptionsError."""
    if task == "dip-denoise":
        return Identity()
    if task == "dip-inpaint":
        return GivenMask()
    if task == "dip-super-resolve":
        return Downsample(options.scale)
    if options.kernel is None:
        raise OptionsError("kernel", None, "rows of an odd square kernel, or a corruption such as 'gaussian-blur:sigma=2'")
    return _blur(options.kernel) if isinstance(options.kernel, str) else GivenBlur(len(options.kernel))


def pose(
    task: DipTask,
    planes: Tensor,
    options: DipOptions,
    *,
    known: Tensor | None = None,
    trusted: Tensor | None = None,
    index: int = 0,
) -> Problem:
    """The problem of one image.

    planes   (C, h, w) float32 as measured; index: of the tile, decides about its random numbers beside the seed
    known    (h, w) bool, True where a pixel was measured; None: everywhere
    trusted  (h, w) bool, False where what lies outside a tile would have contributed; such values enter nothing
    """
    operator, measured = operator_of(task, options), planes[None]
    channels, height, width = planes.shape
    scale = options.scale if task == "dip-super-resolve" else 1
    sought = torch.zeros((), dtype=torch.float32).expand(
        1, channels, height * scale, width * scale
    )  # a shape, without its memory
    whole = torch.ones((height, width), dtype=torch.bool)
    keep = whole if known is None else known
    usable = keep & (whole if trusted is None else trusted)
    held = _held_out(usable, keep, options, index)
    theta = _theta(operator, options, sought, keep)
    return Problem(operator, theta, torch.where(keep, measured, 0.0), (usable & ~held)[None, None], held[None, None])


def stacked(problems: Sequence[Problem]) -> Problem:
    """Several problems of one operator and size as one."""
    tensors = (torch.cat([getattr(one, name) for one in problems]) for name in ("measured", "fitted", "held_out"))
    return Problem(problems[0].operator, stack_thetas([one.theta for one in problems]), *tensors)


def reach(operator: Operator) -> int:
    """How far, in measured pixels, F looks beyond a tile's border."""
    if isinstance(operator, Composition):
        return sum(map(reach, operator.steps))
    if isinstance(operator, Downsample):
        return 2
    return int(getattr(operator, "radius", 0))


def _blur(text: str) -> Operator:
    want = "'gaussian-blur:sigma=2', 'motion-blur:length=9,angle=30' or such, joined by +"
    try:
        operator = parse(text)
    except CorruptionSpecError as exc:
        reason = exc.reason if exc.known else f"{exc.reason}; {exc.remedy}"  # of what is known, few are blurs
        raise OptionsError("kernel", text, f"{want} ({reason})") from exc
    for step in operator.steps if isinstance(operator, Composition) else (operator,):
        if not isinstance(step, GaussianBlur | MotionBlur):
            raise OptionsError("kernel", text, want)
        drawn = [field.name for field in fields(step) if isinstance(getattr(step, field.name), Range)]
        if drawn:
            raise OptionsError("kernel", text, f"{want}, each with one value: {drawn[0]} would be drawn and not known")
    return operator


def _theta(operator: Operator, options: DipOptions, sought: Tensor, keep: Tensor) -> Theta:
    if isinstance(operator, GivenMask):
        return operator.theta_from_mask(keep[None, None], sought)
    if isinstance(operator, GivenBlur):
        return operator.theta_from_kernel(torch.tensor(options.kernel, dtype=torch.float32), sought)
    return operator.sample_theta(sought, seeded(options.seed))


def _held_out(usable: Tensor, known: Tensor, options: DipOptions, index: int) -> Tensor:
    """A share of the usable pixels at random; none unless the policy looks at them."""
    if options.stopping != "held-out":
        return torch.zeros_like(usable)
    return held_out(usable, known, options.held_out, seeded(options.seed, _HELD_OUT_STREAM, index))


def _mean(squared: Tensor, where: Tensor) -> Tensor:
    total = torch.where(where, squared, 0.0).sum((1, 2, 3))
    return total / where.sum((1, 2, 3)).clamp(min=1)
