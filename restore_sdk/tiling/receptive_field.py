"""How far one input pixel reaches: measured by perturbing pixels and comparing the bits of the output.

A network made of shift-equivariant operators with total stride S has S * S kinds of pixel, and the reach differs between
them. Whole rows (then whole columns) are perturbed at each of the S phases, with another random value in every pixel and
channel, so the rows that change are the union over all column phases: 2 * S perturbations cover all S * S kinds.

What a probe sees is a lower bound of the reach: a weight may be zero, and float32 rounding swallows faint contributions.
An operator that depends on absolute position (a flip, coordinates) is not told from one that does not; only tiles show it.
`export` therefore probes a copy of the network with positive weights in float64, where nothing cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import ModelSpecError, OptionsError

Planes: TypeAlias = NDArray[np.floating[Any]]
Function: TypeAlias = Callable[[NDArray[np.float32]], Planes]

LARGEST_MULTIPLE = 64
BREADTH = 32  # pixels across the probed axis; any width shows the reach along it
SMALLEST_SIDE = 32  # pixels; smaller shapes may be refused for other reasons than their remainder
STRENGTHS = (1.0, 1e3)  # of the perturbation; images lie in [0, 1]


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """Reach of one input pixel, in pixels of the input; None where it goes beyond the largest probe.

    `up` is how far above itself a pixel changes the output, and so on; for a network that enlarges by `scale`, output row
    o counts as row o // scale. `radius` is the largest of the four. `phases` are the row and column phases probed.
    """

    up: int | None
    down: int | None
    left: int | None
    right: int | None
    phases: tuple[int, int]

    @property
    def radius(self) -> int | None:
        reaches = [reach for reach in (self.up, self.down, self.left, self.right) if reach is not None]
        return max(reaches) if len(reaches) == 4 else None

    @property
    def reaches_everything(self) -> bool:
        return self.radius is None


def probe_receptive_field(
    function: Function, channels: int, multiple: int, scale: int = 1, *, first_reach: int = 64, limit: int = 512, seed: int = 0
) -> ReceptiveField:
    """Receptive field of `function`, which maps (1, channels, H, W) float32 to (1, C', H * scale, W * scale) of any float type.

    H and W given to it are multiples of `multiple` (S); all S * S phases are covered. The probe starts with room for
    `first_reach` pixels on each side and doubles until two sizes agree on a change that stays inside; a reach of `limit`
    pixels or more counts as the whole image. The function must be deterministic. Raises OptionsError for sizes below 1, and
    ModelSpecError if the output has another shape than promised.
    """
    for name, value in (("channels", channels), ("multiple", multiple), ("scale", scale), ("first_reach", first_reach)):
        if value < 1:
            raise OptionsError(name, value, "an integer of at least 1")
    probe = _Probe(function, channels, multiple, scale, seed)
    up, down = probe.reach(2, first_reach, limit)
    left, right = probe.reach(3, first_reach, limit)
    return ReceptiveField(up, down, left, right, (multiple, multiple))


def smallest_multiple(accepts: Callable[[int, int], bool], limit: int = LARGEST_MULTIPLE) -> int:
    """The smallest S in 1..limit such that `accepts(height, width)` holds on several odd multiples of S, each axis apart.

    Raises ModelSpecError if no S does.
    """
    for multiple in range(1, limit + 1):
        if all(accepts(height, width) for height, width in _odd_multiples(multiple)):
            return multiple
    raise ModelSpecError(f"the network accepts no sizes that are multiples of 1..{limit}", "check its channels and its input")


def _odd_multiples(multiple: int) -> Iterator[tuple[int, int]]:
    """Shapes divisible by `multiple` and, being odd multiples of it, by no larger power of two."""
    first = max(1, -(-SMALLEST_SIDE // multiple)) | 1
    small, middle, large = (factor * multiple for factor in (first, first + 2, first + 4))
    yield from ((small, middle), (middle, large), (large, small))


@dataclass(frozen=True, slots=True)
class _Probe:
    function: Function
    channels: int
    multiple: int
    scale: int
    seed: int

    def reach(self, axis: int, first_reach: int, limit: int) -> tuple[int, int] | tuple[None, None]:
        """Reach before and after a pixel along `axis`: enlarge the canvas until the change stays inside, and then once more,
        because an operator with gaps (a dilated convolution) may leap over the edge of the smaller one."""
        room, smaller = min(first_reach, limit), None
        while True:
            found = self._reach_within(axis, room)
            if found is not None and found == smaller:
                return found
            if room >= limit:
                return found or (None, None)
            room, smaller = min(2 * room, limit), found

    def _reach_within(self, axis: int, room: int) -> tuple[int, int] | None:
        """None if the change touches the edge of a canvas with at least `room` pixels on each side of the perturbed one."""
        origin = -(-room // self.multiple) * self.multiple
        before = after = 0
        for image, reference, random in self._backgrounds(axis, 2 * origin + self.multiple):
            for position in range(origin, origin + self.multiple):
                for strength in STRENGTHS:
                    changed = self._changed(reference, _perturbed(image, axis, position, strength, random), axis)
                    if changed[0] or changed[-1]:
                        return None
                    rows = np.flatnonzero(changed) // self.scale
                    before = max(before, position - int(rows.min(initial=position)))
                    after = max(after, int(rows.max(initial=position)) - position)
        return before, after

    def _backgrounds(self, axis: int, length: int) -> Iterator[tuple[NDArray[np.float32], Planes, np.random.Generator]]:
        """Canvas, the output it gives, and the generator that made it. On black, nothing is lost to rounding; the random
        ones open the gates (ReLU, attention, products) that black keeps shut."""
        breadth = max(1, -(-BREADTH // self.multiple)) * self.multiple
        shape = (1, self.channels, length, breadth) if axis == 2 else (1, self.channels, breadth, length)
        random = np.random.default_rng(self.seed)
        for low, high in ((0.0, 0.0), (0.1, 1.0), (-1.0, 1.0)):
            image = random.uniform(low, high, shape).astype(np.float32)
            yield image, self._run(image), random

    def _changed(self, reference: Planes, image: NDArray[np.float32], axis: int) -> NDArray[np.bool_]:
        """For each output row (column, if axis is 3): whether any bit differs."""
        differs = _bits(self._run(image)) != _bits(reference)
        changed: NDArray[np.bool_] = differs.any(axis=tuple(other for other in range(4) if other != axis))
        return changed

    def _run(self, image: NDArray[np.float32]) -> Planes:
        output = self.function(image)
        want = (1, image.shape[2] * self.scale, image.shape[3] * self.scale)
        if output.ndim != 4 or (output.shape[0], *output.shape[2:]) != want:
            raise ModelSpecError(f"the network maps {image.shape} to {output.shape}, expected (1, C, {want[1]}, {want[2]})")
        return output


def _perturbed(
    image: NDArray[np.float32], axis: int, position: int, strength: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """Copy with one row or column changed: both signs, never by less than half of `strength`, no two pixels alike."""
    copy = image.copy()
    line = copy[:, :, position, :] if axis == 2 else copy[:, :, :, position]
    line += (random.uniform(0.5, 1.5, line.shape) * random.choice((-1.0, 1.0), line.shape) * strength).astype(np.float32)
    return copy


def _bits(values: Planes) -> NDArray[np.unsignedinteger[Any]]:
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
