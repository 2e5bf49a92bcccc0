"""Several corruptions one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_sdk.degradations.errors import InnerNoiseError, ThetaError
from restore_sdk.degradations.operator import Operator, check_batch
from restore_sdk.degradations.theta import Shape, Theta
from restore_sdk.errors import OptionsError


@dataclass(frozen=True)
class Composition(Operator):
    """steps[0] first: "a+b" in text. The theta of step k is theta.parts[k].

    Noise that something follows ("gaussian-noise+jpeg") arises in measure() at its place; apply() leaves all noise out.
    """

    steps: tuple[Operator, ...]

    def __post_init__(self) -> None:
        if not self.steps or any(isinstance(step, Composition) for step in self.steps):
            raise OptionsError("steps", self.steps, "one or more operators, none of them a composition itself; use compose()")

    @property
    def linear(self) -> bool:
        """Whether every step is."""
        return all(step.linear for step in self.steps)

    @property
    def differentiable(self) -> bool:  # type: ignore[override]
        """Whether every step is."""
        return all(step.differentiable for step in self.steps)

    @property
    def noisy(self) -> bool:  # type: ignore[override]
        """Whether any step is."""
        return any(step.noisy for step in self.steps)

    @property
    def changes(self) -> bool:  # type: ignore[override]
        """Whether any step does."""
        return any(step.changes for step in self.steps)

    @property
    def mixes(self) -> bool:  # type: ignore[override]
        """Whether any step does."""
        return any(step.mixes for step in self.steps)

    def describe(self) -> str:
        """The steps, joined by +."""
        return "+".join(step.describe() for step in self.steps)

    def sample_theta(self, batch: Tensor, rng: torch.Generator) -> Theta:
        """Draw the parameters of every step, in their order."""
        shapes = self._shapes_between(check_batch(batch))
        blank = torch.empty(1, device=batch.device)  # only its shape and device are looked at
        parts = [step.sample_theta(blank.expand(shape), rng) for step, shape in zip(self.steps, shapes, strict=False)]
        return Theta(shapes[0], {}, tuple(parts))

    def measure(self, x: Tensor, theta: Theta, rng: torch.Generator) -> Tensor:
        """Each step with its noise."""
        self._check(x, theta, theta.shape)
        for step, part in zip(self.steps, theta.parts, strict=True):
            x = step.measure(x, part, rng)
        return x

    def output_shape(self, shape: Shape) -> Shape:
        """After the last step."""
        return self._shapes_between(shape)[-1]

    def kept(self, theta: Theta) -> Tensor | None:
        """Values kept by all masks after the last step that mixes pixels; None without such a mask."""
        kept: Tensor | None = None
        for step, part in zip(self.steps, theta.parts, strict=True):
            mask = step.kept(part)
            if step.mixes:
                kept = None
            elif mask is not None:
                kept = mask if kept is None else kept & mask
        return kept

    def theta_from_arrays(self, shape: Shape, arrays: Mapping[str, NDArray[Any]], device: torch.device | str = "cpu") -> Theta:
        """As Operator.theta_from_arrays; names are "k/name" for step k."""
        split: list[dict[str, NDArray[Any]]] = [{} for _ in self.steps]
        for name, value in arrays.items():
            number, _, inner = name.partition("/")
            if not number.isdecimal() or int(number) >= len(split):
                raise ThetaError(f"theta holds {name!r}, which is of no step of {self.describe()}; use the one that was recorded")
            split[int(number)][inner] = value
        stages = self._shapes_between(shape)[:-1]
        parts = [step.theta_from_arrays(stage, part, device) for step, stage, part in zip(self.steps, stages, split, strict=True)]
        return Theta(shape, {}, tuple(parts))

    def _shapes_between(self, shape: Shape) -> list[Shape]:
        shapes = [shape]
        for step in self.steps:
            shapes.append(step.output_shape(shapes[-1]))
        return shapes

    def _apply(self, x: Tensor, theta: Theta) -> Tensor:
        for step, part in zip(self.steps, theta.parts, strict=True):
            x = step.apply(x, part)
        return x

    def _noise(self, y: Tensor, rng: torch.Generator) -> Tensor:
        first = next((k for k, step in enumerate(self.steps) if step.noisy), len(self.steps))
        if any(step.changes for step in self.steps[first + 1 :]):
            raise InnerNoiseError(self.describe())
        for step in self.steps[first:]:
            y = step.noise(y, rng)
        return y

    def _adjoint(self, y: Tensor, theta: Theta) -> Tensor:
        for step, part in zip(reversed(self.steps), reversed(theta.parts), strict=True):
            y = step.adjoint(y, part)
        return y

    def _check(self, batch: Tensor, theta: Theta, wanted: Shape) -> None:
        super()._check(batch, theta, wanted)
        if len(theta.parts) != len(self.steps):
            raise ThetaError(
                f"theta has {len(theta.parts)} parts, {self.describe()} has {len(self.steps)} steps; draw one with it"
            )


def compose(*operators: Operator) -> Operator:
    """The operators one after the other, the first one first; compositions among them are taken apart, one alone is itself."""
    steps = [step for operator in operators for step in (operator.steps if isinstance(operator, Composition) else (operator,))]
    return steps[0] if len(steps) == 1 else Composition(tuple(steps))
