"""What degradations refuse, below restore_sdk.errors.RestoreError.

DegradationError (also ValueError)
|-- CorruptionSpecError     .text .reason .known .remedy
|-- ThetaError              a theta that belongs to other images, another operator or another device
|-- NotLinearError          .operator
|-- NotDifferentiableError  .operator
`-- InnerNoiseError         .operator

Parameters out of range are OptionsError, batches that are none are ImageShapeError or ImageTypeError.
"""

from __future__ import annotations

from collections.abc import Sequence

from restore_sdk.errors import RestoreError


class DegradationError(RestoreError, ValueError):
    """A corruption that cannot be made, or used in this way."""


class CorruptionSpecError(DegradationError):
    """A text that names no corruption. `known` lists what could have stood in its place."""

    def __init__(self, text: str, reason: str, known: Sequence[str] = (), remedy: str = "use one of these") -> None:
        listed = f"; known are: {', '.join(known)}" if known else ""
        super().__init__(f"corruption {text!r}: {reason}{listed}; {remedy}")
        self.text, self.reason, self.known, self.remedy = text, reason, tuple(known), remedy


class ThetaError(DegradationError):
    """Parameters that were not drawn for these images by this operator, or lie on another device."""


class NotLinearError(DegradationError):
    """The adjoint was asked of an operator that is not linear."""

    def __init__(self, operator: str) -> None:
        super().__init__(
            f"{operator} is not linear and has no adjoint; take the gradient of apply() instead, or a linear operator"
        )
        self.operator = operator


class NotDifferentiableError(DegradationError):
    """A gradient was asked through an operator that has none."""

    def __init__(self, operator: str) -> None:
        super().__init__(
            f"{operator} is not differentiable; pass x.detach(), or leave it out where a network is trained through it"
        )
        self.operator = operator


class InnerNoiseError(DegradationError):
    """The noise alone was asked of a composition in which something follows it."""

    def __init__(self, operator: str) -> None:
        super().__init__(f"in {operator} noise is followed by another step, so it is not noise on y; call measure(x, theta, rng)")
        self.operator = operator
