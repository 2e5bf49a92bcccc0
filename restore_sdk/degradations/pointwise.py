"""The two smallest operators: nothing, and the limits of a sensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from restore_sdk.degradations.operator import Operator
from restore_sdk.degradations.theta import Theta


class Unchanging(Operator):
    """Base of operators whose y, before any noise, is x."""

    changes: ClassVar[bool] = False

    def _apply(self, x: Tensor, theta: Theta) -> Tensor:
        return x

    def _adjoint(self, y: Tensor, theta: Theta) -> Tensor:
        return y


@dataclass(frozen=True)
class Identity(Unchanging):
    """Nothing happens."""

    name: ClassVar[str] = "identity"


@dataclass(frozen=True)
class Clip(Operator):
    """Values are limited to [0, 1], as a file stores them; the gradient is 0 outside."""

    name: ClassVar[str] = "clip"

    @property
    def linear(self) -> bool:
        """It is not."""
        return False

    def _apply(self, x: Tensor, theta: Theta) -> Tensor:
        return x.clamp(0, 1)
