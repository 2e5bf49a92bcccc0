"""The numbers an operator is made with, and what is checked of them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from restore_sdk.errors import OptionsError

STRONGEST = 1e6  # standard deviation of noise; beside more, float32 keeps nothing of an image of values up to 1


class Range(NamedTuple):
    """A parameter drawn anew for each image, uniform between the two; `low..high` in text."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{float(self.low)!r}..{float(self.high)!r}"


def limits(value: float | Range) -> Range:
    """A number as a range of no width; a range as it is."""
    return value if isinstance(value, Range) else Range(value, value)


def check_number(name: str, value: object, least: float, most: float, unit: str = "") -> None:
    """Raise OptionsError unless `value` is a finite number (or a Range of them) within the bounds; `most` may be infinite."""
    ends = value if isinstance(value, Range) else (value,)
    ascending = not isinstance(value, Range) or value.low <= value.high
    if not all(_is_within(end, least, most) for end in ends) or not ascending:
        bounds = f"at least {least:g}" if math.isinf(most) else f"{least:g} to {most:g}"
        kind = "a number or an ascending range" if isinstance(value, Range) else "a number"
        raise OptionsError(name, value, f"{kind} of {bounds}{unit and ' ' + unit}")


def _is_within(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and least <= value <= most


def check_whole(name: str, value: object, least: int, most: int | None = None, unit: str = "") -> None:
    """Raise OptionsError unless `value` is an integer within the bounds."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not _is_within(value, least, math.inf if most is None else most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise OptionsError(name, value, f"an integer {bounds}{unit and ' ' + unit}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise OptionsError unless `value` is one of `choices`."""
    if value not in choices:
        raise OptionsError(name, value, f"one of {', '.join(choices)}")


def share_of(share: float, count: int) -> int:
    """floor(share * count), with `share` as the decimal number it is written as: 0.29 of 100 is 29, not 28."""
    return math.floor(Fraction(repr(float(share))) * count)
