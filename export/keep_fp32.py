"""Which layers stay in float32, so that the rest can be FP16: those that were named, or, for "auto", as few as can be found.

The search is greedy; trying every set would take 2**n runs.

1. Keep each layer whose values are beyond the range of FP16: measured in FP32, among those that the half network still holds
   in FP16, the innermost modules that give such a value, and the layers that take it. Repeat until none is left.
2. While the answers differ too much: keep one more, the one that costs most when it alone is in FP16.
3. Give each layer that was kept for this back to FP16, the least costly first, where the gate still passes without it.

What remains is irreducible: no single layer of it can be left out. It is not proven to be the smallest of all sets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from export.checkpoint import Checkpoint
from export.gate_images import gate_images
from export.half_gate import Gate, Measured, check, measured
from export.precision import half_wrapped, innermost, layers
from restore_sdk.errors import OptionsError

if TYPE_CHECKING:
    from torch import nn

KeepChoice: TypeAlias = tuple[str, ...] | Literal["auto"]
MOST_BLAMED = 3  # layers named where none alone breaks the tolerance


def parse_keep(text: str) -> KeepChoice:
    """The value of --keep-fp32: "auto", or paths of modules joined by commas. Raises OptionsError for an empty path."""
    if text == "auto":
        return "auto"
    names = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
    if not all(names):
        raise OptionsError("keep_fp32", text, "'auto' or paths of modules joined by commas, such as 'head,body.encode.0'")
    return tuple(dict.fromkeys(names))


def in_half(
    loaded: Checkpoint, choice: KeepChoice, images: Path | None, *, always: tuple[str, ...] = ()
) -> tuple[nn.Module, Gate]:
    """The network in FP16, float32 in and out, and the gate that it passed on the images of a folder (None: the examples).
    `always` are kept whatever is chosen. Raises HalfPrecisionError, OptionsError and ExportError."""
    tried = gate_images(images, loaded.channels, loaded.size_multiple, loaded.fill)
    gate = choose_kept(measured(loaded.network, tried), choice, always)
    return half_wrapped(loaded.network, gate.keep), gate


def choose_kept(measured: Measured, choice: KeepChoice, always: tuple[str, ...] = ()) -> Gate:
    """The gate that passed, with the layers it keeps, among them `always`. Raises HalfPrecisionError, OptionsError and
    ExportError."""
    if choice == "auto":
        return _Search(measured, always).run()
    gate = measured.gate((*choice, *always))
    if not gate.passed:
        check(gate, () if gate.overflowing or gate.enterers else _Search(measured).costly(gate.keep))
    return gate


@dataclass(slots=True)
class _Search:
    measured: Measured
    always: tuple[str, ...] = ()
    costs: dict[str, float] = field(default_factory=dict)

    def run(self) -> Gate:
        gate = self._in_range()
        left = [layer for layer in self._by_cost() if layer not in gate.keep] if not gate.passed else []
        while not gate.passed and left:
            gate = self.measured.gate((*gate.keep, left.pop(0)))
        check(gate, ())
        return self._pruned(gate)

    def _in_range(self) -> Gate:
        gate = self.measured.gate(self.always)
        while gate.overflowing or gate.enterers:
            beyond = innermost((*gate.overflowing, *gate.enterers))
            more = [path for path in beyond if path]
            if not more:  # a sum in the outermost forward; the second step may find whose
                break
            gate = self.measured.gate((*gate.keep, *more))
        return gate

    def _pruned(self, gate: Gate) -> Gate:
        free = [path for path in gate.keep if path not in self.always]
        if len(gate.keep) < 2 or not free:
            return gate
        costs = self._costs()
        for path in sorted(free, key=lambda path: costs.get(path, 0.0)):
            without = self.measured.gate([kept for kept in gate.keep if kept != path])
            gate = without if without.passed else gate
        return gate

    def _by_cost(self) -> list[str]:
        costs = self._costs()
        return sorted(costs, key=lambda layer: -costs[layer])

    def costly(self, kept: Iterable[str]) -> tuple[str, ...]:
        """The layers that break the tolerance alone; if none does, those that cost most."""
        free = [layer for layer in self._by_cost() if not any(f"{layer}.".startswith(f"{name}.") for name in kept)]
        return tuple(layer for layer in free if self.costs[layer] > 0) or tuple(free[:MOST_BLAMED])

    def _costs(self) -> dict[str, float]:
        """How far beyond the tolerance each layer brings the answers when all the others are float32, in dB."""
        if not self.costs:
            every = layers(self.measured.network)
            for layer in every:
                others = [other for other in every if other != layer]
                self.costs[layer] = self.measured.gate(others, quick=True).excess
        return self.costs
