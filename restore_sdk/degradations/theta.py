"""Theta: the random parameters of one corruption of one batch, one set for each image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_sdk.degradations.errors import ThetaError

Shape: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Theta:
    """What F(x; theta) needs beside x.

    shape:  (N, C, H, W) of the images it was drawn for.
    values: tensors whose first axis is the image, for example "keep", (N, 1, H, W) bool. Empty where nothing is random.
    parts:  the thetas of the steps of a composition, in their order.
    """

    shape: Shape
    values: Mapping[str, Tensor] = field(default_factory=dict)
    parts: tuple[Theta, ...] = ()

    def tensors(self) -> dict[str, Tensor]:
        """All tensors under one level of names; those of part k are "k/name"."""
        inner = {f"{k}/{name}": value for k, part in enumerate(self.parts) for name, value in part.tensors().items()}
        return {**self.values, **inner}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """tensors() as numpy arrays (copies), to be stored anywhere; Operator.theta_from_arrays is the way back."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.tensors().items()}

    def to(self, device: torch.device | str) -> Theta:
        """The same parameters on another device."""
        return self._map(self.shape[0], lambda value: value.to(device))

    def __getitem__(self, images: slice) -> Theta:
        """Theta of some of the images, theta[2:5]."""
        return self._map(len(range(*images.indices(self.shape[0]))), lambda value: value[images])

    def _map(self, count: int, change: Callable[[Tensor], Tensor]) -> Theta:
        values = {name: change(value) for name, value in self.values.items()}
        return Theta((count, *self.shape[1:]), values, tuple(part._map(count, change) for part in self.parts))


def stack_thetas(thetas: Sequence[Theta]) -> Theta:
    """One theta for a batch out of several, all of one operator and image size. Raises ThetaError."""
    first = thetas[0] if thetas else None
    if first is None or any(_kind(theta) != _kind(first) for theta in thetas):
        raise ThetaError("thetas of no, or of different, operators or image sizes cannot be stacked; draw them alike")
    values = {name: torch.cat([theta.values[name] for theta in thetas]) for name in first.values}
    parts = tuple(stack_thetas([theta.parts[k] for theta in thetas]) for k in range(len(first.parts)))
    return Theta((sum(theta.shape[0] for theta in thetas), *first.shape[1:]), values, parts)


def _kind(theta: Theta) -> tuple[object, ...]:
    values = sorted((name, value.shape[1:], value.dtype) for name, value in theta.values.items())
    return theta.shape[1:], tuple(values), len(theta.parts)
