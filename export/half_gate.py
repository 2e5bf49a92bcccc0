"""Whether FP16 can hold a network: its answers against FP32's, and the largest value that any module takes or gives.

The answers are those of half_arithmetic, which rounds at every layer as a GPU does. ONNX Runtime on the CPU, through which
the file itself is verified too, computes half layers in float32 and would let an overflow pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from export.errors import ExportError, HalfPrecisionError
from export.gate_images import GateImages
from export.precision import half_wrapped, in_order, innermost
from export.tolerance import LARGEST_HALF, TOLERANCES, Precision, difference
from restore_sdk.backends.base import FloatNCHW
from restore_sdk.extras import require

if TYPE_CHECKING:
    from torch import Tensor, nn

WANTED = TOLERANCES[Precision.FP16]
Visit = Callable[[str, str, "Tensor"], None]  # module path, "takes", "gives" or "holds", and the tensor


@dataclass(frozen=True, slots=True)
class Gate:
    """What FP16 costs, at the worst image: `max_abs` in units of value_range, `psnr` in dB with peak 1.

    keep         paths of the modules that stay float32.
    overflowing  paths of those whose FP16 values exceed 6e4, the innermost, in the network's order; "" is the network.
    enterers     as above, of those that only take such values as their input.
    """

    psnr: float
    max_abs: float
    keep: tuple[str, ...]
    overflowing: tuple[str, ...]
    enterers: tuple[str, ...]
    images: str

    @property
    def passed(self) -> bool:
        return not (self.overflowing or self.enterers) and WANTED.allows(self.max_abs, self.psnr)

    @property
    def excess(self) -> float:
        """How far beyond the tolerance, in dB; infinite for NaN. Negative: within."""
        if not math.isfinite(self.max_abs):
            return math.inf
        loudest = 20 * math.log10(self.max_abs / WANTED.max_abs) if self.max_abs > 0 else -math.inf
        return max(WANTED.psnr - self.psnr, loudest)

    def as_json(self) -> dict[str, Any]:
        """Rounded, so that the order of summation in another run does not show."""
        psnr = round(self.psnr, 1) if math.isfinite(self.psnr) else None
        max_abs = float(f"{self.max_abs:.2g}") if math.isfinite(self.max_abs) else None
        return {"psnr": psnr, "max_abs": max_abs, "keep_fp32": list(self.keep), "images": self.images}


@dataclass(slots=True)
class Measured:
    """A network in FP32 on the gate's images: its answers, and the largest magnitude at each place (module, role)."""

    network: nn.Module
    images: GateImages
    answers: list[FloatNCHW] = field(default_factory=list)
    peaks: dict[tuple[str, str], float] = field(default_factory=dict)

    def gate(self, keep: Collection[str] = (), *, quick: bool = False) -> Gate:
        """Half precision with `keep` in float32. `quick` leaves out the large images. Raises OptionsError for a name in `keep`
        that the network does not have, and ExportError if the network does not run so."""
        torch = require("torch", "export")
        arithmetic = require("export.half_arithmetic", "export")
        keep = in_order(self.network, keep)
        mixed = half_wrapped(self.network, keep)
        held: set[tuple[str, str]] = set()

        def note(path: str, role: str, tensor: Tensor) -> None:
            if tensor.dtype == torch.float16:
                held.add((path, role))

        cases = self._cases(quick=quick)
        with _translated(keep), visited(mixed.get_submodule("body"), note), arithmetic.HalfArithmetic():
            differences = [difference(_run(mixed, batch), answer) for batch, answer in cases]
        return _gate(self._overflows(held), differences, keep, self.images.origin)

    def _cases(self, *, quick: bool) -> list[tuple[FloatNCHW, FloatNCHW]]:
        answered = zip(self.images.images, self.answers, strict=True)
        return [(image.batch, answer) for image, answer in answered if not (quick and image.is_large)]

    def _overflows(self, held: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
        """Places beyond the limit that are held in FP16, in the network's order."""
        return [place for place, peak in self.peaks.items() if not peak <= LARGEST_HALF and place in held]


def measured(network: nn.Module, images: GateImages) -> Measured:
    """Run `network`, in eval mode, in float32, with a hook on every module."""
    result = Measured(network, images)

    def note(path: str, role: str, tensor: Tensor) -> None:
        peak = float(tensor.abs().max()) if tensor.numel() else 0.0
        earlier = result.peaks.get((path, role), 0.0)
        result.peaks[path, role] = peak if math.isnan(peak) else max(earlier, peak)

    with visited(network, note):
        result.answers.extend(_run(network, image.batch) for image in images.images)
    return result


def check(gate: Gate, to_blame: Collection[str]) -> None:
    """Raise HalfPrecisionError, naming what overflows or else `to_blame`, unless the gate passed."""
    if gate.passed:
        return
    overflowing = gate.overflowing or gate.enterers
    rounding = f"too much rounding (wanted at most {WANTED.max_abs:g} and at least {WANTED.psnr:g} dB)"
    hidden = rounding if math.isfinite(gate.max_abs) else "an overflow between modules"
    reason = f"values beyond {LARGEST_HALF:g}" if overflowing else hidden
    named = tuple(path for path in overflowing or to_blame if path)
    remedy = "" if named else "pass --precision fp32"
    raise HalfPrecisionError(named, gate.psnr, gate.max_abs, reason, remedy)


@contextmanager
def visited(network: nn.Module, visit: Visit) -> Iterator[None]:
    """Inside the `with`, `visit` sees the floating-point tensors that each module of `network` takes and gives as it runs;
    those it holds, weights and buffers, at once."""
    with ExitStack() as hooks:
        for path, module in network.named_modules():
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                _each(tensor, path, "holds", visit)
            hooks.callback(module.register_forward_pre_hook(_entry(path, visit), with_kwargs=True).remove)
            hooks.callback(module.register_forward_hook(_exit(path, visit)).remove)
        yield


def _entry(path: str, visit: Visit) -> Callable[..., None]:
    return lambda module, args, kwargs: _each([args, kwargs], path, "takes", visit)


def _exit(path: str, visit: Visit) -> Callable[..., None]:
    return lambda module, args, output: _each(output, path, "gives", visit)


def _each(value: Any, path: str, role: str, visit: Visit) -> None:
    if isinstance(value, require("torch", "export").Tensor):
        if value.is_floating_point():
            visit(path, role, value.detach())
    elif isinstance(value, Mapping):
        _each(list(value.values()), path, role, visit)
    elif isinstance(value, (tuple, list)):
        for item in value:
            _each(item, path, role, visit)


def _gate(places: list[tuple[str, str]], differences: list[tuple[float, float]], keep: Collection[str], origin: str) -> Gate:
    producing = innermost(dict.fromkeys(path for path, role in places if role != "takes"))
    entering = innermost(dict.fromkeys(path for path, role in places if role == "takes"))
    return Gate(
        psnr=float(np.min([psnr for _, psnr in differences])),  # NaN counts as the least and the largest
        max_abs=float(np.max([max_abs for max_abs, _ in differences])),
        keep=tuple(keep),
        overflowing=producing,
        enterers=tuple(path for path in entering if path not in producing),
        images=origin,
    )


def _run(network: nn.Module, batch: FloatNCHW) -> FloatNCHW:
    torch = require("torch", "export")
    with torch.inference_mode():
        restored: FloatNCHW = network(torch.from_numpy(batch)).numpy()
    return restored


@contextmanager
def _translated(keep: Collection[str]) -> Iterator[None]:
    try:
        yield
    except RuntimeError as exc:  # what PyTorch raises for operands of two types
        kept = ", ".join(keep) or "nothing"
        line = next(iter(str(exc).splitlines()), type(exc).__name__)
        raise ExportError(
            f"the network does not run in FP16 with {kept} kept in float32 ({line})", "keep the whole module around it"
        ) from exc
