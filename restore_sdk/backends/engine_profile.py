"""The range of input shapes an engine is built for, checked by us: TensorRT answers 0, which means yes, to some wrong ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from restore_sdk.errors import OptionsError
from restore_sdk.spec import LARGEST_SIDE, ModelSpec

Size: TypeAlias = tuple[int, int]  # (height, width), pixels
Shape: TypeAlias = tuple[int, int, int, int]  # (N, C, H, W)

MINIMUM, OPTIMUM, MAXIMUM = 64, 512, 1024  # sides in pixels where nobody asks for others
AXES = ("batch", "channels", "height", "width")
LARGEST_BATCH = 1 << 16  # TensorRT counts in 31 bits, and says so by an exception


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineProfile:
    """Smallest, most frequent and largest input (N, C, H, W). The engine is tuned for `optimum` and runs, without being built
    again, whatever lies between the others. Raises OptionsError for another rank, for sizes below 1, and out of order."""

    minimum: Shape
    optimum: Shape
    maximum: Shape

    def __post_init__(self) -> None:
        for name, shape in self._named():
            _check_rank(name, shape)
        _check_order("opt", self.optimum, "min", self.minimum)
        _check_order("max", self.maximum, "opt", self.optimum)

    def check(self, spec: ModelSpec) -> None:
        """Raise OptionsError unless every shape is one that `spec` promises to take: its channels, sides in multiples of S."""
        for name, shape in self._named():
            if shape[1] != spec.channels:
                raise OptionsError(name, shape, f"{spec.channels} channels (axis 1), as the model's spec says")
            _check_multiple(name, shape, spec.size_multiple)

    def contains(self, shape: Sequence[int]) -> bool:
        """Whether an input of `shape` (N, C, H, W) needs no other engine."""
        return len(shape) == len(self.minimum) and all(
            low <= length <= high for low, length, high in zip(self.minimum, shape, self.maximum, strict=True)
        )

    def as_json(self) -> dict[str, list[int]]:
        """{"min": [N, C, H, W], "opt": ..., "max": ...}."""
        return {name: list(shape) for name, shape in self._named()}

    def _named(self) -> tuple[tuple[str, Shape], ...]:
        return ("min", self.minimum), ("opt", self.optimum), ("max", self.maximum)


def profile_for(
    spec: ModelSpec,
    *,
    minimum: Size | None = None,
    optimum: Size | None = None,
    maximum: Size | None = None,
    batch: int = 1,
) -> EngineProfile:
    """A profile for `spec`: batches of 1 to `batch`, tuned for `batch` at `optimum`; sizes (height, width) in pixels.

    A size left out is 64, 512 or 1024 px a side, in multiples of S, moved as far as the others demand. Raises OptionsError.
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= LARGEST_BATCH:
        raise OptionsError("batch", batch, f"an integer from 1 to {LARGEST_BATCH}")
    _check_given({"min": minimum, "opt": optimum, "max": maximum}, spec)
    smallest, usual, largest = zip(*(_filled(spec, minimum, optimum, maximum, axis) for axis in (0, 1)), strict=True)
    profile = EngineProfile(
        minimum=(1, spec.channels, *smallest), optimum=(batch, spec.channels, *usual), maximum=(batch, spec.channels, *largest)
    )
    profile.check(spec)
    return profile


def _filled(spec: ModelSpec, minimum: Size | None, optimum: Size | None, maximum: Size | None, axis: int) -> tuple[int, int, int]:
    """(min, opt, max) of one axis; what is given stays as it is, wrong or not."""
    low, usual, high = (None if size is None else size[axis] for size in (minimum, optimum, maximum))
    known = [side for side in (low, usual, high) if side is not None]
    if low is None:
        low = min([rounded_up(max(MINIMUM, spec.min_size), spec.size_multiple), *known])
    if high is None:
        high = max([rounded_up(MAXIMUM, spec.size_multiple), low, *known])
    if usual is None:
        usual = max(low, min(rounded_up(OPTIMUM, spec.size_multiple), high))
    return low, usual, high


def rounded_up(length: int, multiple: int) -> int:
    """Smallest multiple that is at least `length`."""
    return -(-length // multiple) * multiple


def size_text(size: Sequence[int]) -> str:
    """(480, 640) -> "480x640"."""
    return "x".join(map(str, size))


def _check_rank(name: str, shape: Sequence[int]) -> None:
    if len(shape) != len(AXES):
        raise OptionsError(name, tuple(shape), f"a shape of {len(AXES)} axes ({', '.join(AXES)})")
    if not all(isinstance(length, int) and not isinstance(length, bool) and length >= 1 for length in shape):
        raise OptionsError(name, tuple(shape), "a shape of integers of at least 1")


def _check_given(sizes: Mapping[str, Size | None], spec: ModelSpec) -> None:
    """What was given is judged before anything is derived from it, so that the error speaks of it."""
    given = {name: size for name, size in sizes.items() if size is not None}
    for name, size in given.items():
        _check_size(name, size)
        _check_multiple(name, (1, spec.channels, *size), spec.size_multiple)
    for (lower_name, lower), (name, size) in combinations(given.items(), 2):
        _check_order(name, size, lower_name, lower)


def _check_size(name: str, size: Sequence[int]) -> None:
    if len(size) != 2:
        raise OptionsError(name, size, "a (height, width) in pixels")
    if not all(isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= LARGEST_SIDE for side in size):
        raise OptionsError(name, size_text(size), f"height and width from 1 to {LARGEST_SIDE} pixels")


def _check_multiple(name: str, shape: Sequence[int], multiple: int) -> None:
    if shape[2] % multiple or shape[3] % multiple:
        rounded = [rounded_up(side, multiple) for side in shape[2:]]
        wanted = f"height and width in multiples of {multiple} px, for example {size_text(rounded)}"
        raise OptionsError(name, size_text(shape[2:]), wanted)


def _check_order(name: str, shape: Sequence[int], lower_name: str, lower: Sequence[int]) -> None:
    """Of two shapes, or of two sizes."""
    for axis, length, least in zip(AXES[-len(shape) :], shape, lower, strict=True):
        if length < least:
            wanted = f"at least {lower_name}={size_text(lower)} on every axis ({axis} is {length} < {least})"
            raise OptionsError(name, size_text(shape), wanted)
