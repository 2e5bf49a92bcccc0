"""Fewer pixels: low-pass filter and decimation in one, as one matrix for the rows and one for the columns."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import ClassVar, Literal, TypeAlias, get_args
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from restore_sdk.degradations.operator import Operator
from restore_sdk.degradations.parameters import check_choice, check_whole
from restore_sdk.degradations.theta import Shape, Theta

Kernel = Literal["bicubic", "lanczos2", "lanczos3", "area"]
Edge = Literal["replicate", "renormalise"]
_Key: TypeAlias = tuple[tuple[int, int], Kernel, Edge, torch.dtype, torch.device]
_HELD: WeakValueDictionary[_Key, Tensor] = WeakValueDictionary()
_HELD_LOCK = threading.Lock()


@dataclass(frozen=True)
class Downsample(Operator):
    """floor(H / factor) x floor(W / factor) pixels (at least one) that cover the whole image.

    kernel: "lanczos2" is Deep Image Prior's downsampler (phase 1/2), "bicubic" (a = -1/2) and "lanczos3" are those
    of MATLAB and Pillow with antialiasing, "area" is the mean over each pixel's footprint (OpenCV's INTER_AREA).
    edge: what lies outside is the outermost pixel ("replicate", as Deep Image Prior), or nothing, and the rest of the kernel is
    scaled to sum 1 ("renormalise", as Pillow).
    """

    name: ClassVar[str] = "downsample"
    mixes: ClassVar[bool] = True
    factor: int = 4
    kernel: Kernel = "lanczos2"
    edge: Edge = "replicate"

    def __post_init__(self) -> None:
        check_whole("factor", self.factor, 1, 1024)
        check_choice("kernel", self.kernel, get_args(Kernel))
        check_choice("edge", self.edge, get_args(Edge))

    def output_shape(self, shape: Shape) -> Shape:
        """Sides divided by the factor, rounded down."""
        return (*shape[:2], max(1, shape[2] // self.factor), max(1, shape[3] // self.factor))

    def _apply(self, x: Tensor, theta: Theta) -> Tensor:
        rows, columns = self.matrices(theta.shape, x)
        return rows @ x @ columns.T

    def _adjoint(self, y: Tensor, theta: Theta) -> Tensor:
        rows, columns = self.matrices(theta.shape, y)
        return rows.T @ y @ columns

    def matrices(self, shape: Shape, like: Tensor) -> tuple[Tensor, Tensor]:
        """What multiplies (N, C, H, W) images from the left, and, transposed, from the right; of the dtype and device of `like`.

        As long as they are held, every call for the same sides computes with these very tensors: a captured CUDA graph, which
        knows places in memory, relies on that.
        """
        short = self.output_shape(shape)
        rows, columns = ((shape[axis], short[axis]) for axis in (2, 3))
        settings = (self.kernel, self.edge, like.dtype, like.device)
        return _cached((rows, *settings)), _cached((columns, *settings))


@lru_cache(maxsize=8)
def _cached(key: _Key) -> Tensor:
    """The last few are kept; one that somebody still holds is given again, however many came since."""
    lengths, kernel, edge, dtype, device = key
    with _HELD_LOCK:
        held = _HELD.get(key)
        if held is None:
            with torch.inference_mode(False):  # a cached inference tensor would break a later training
                held = _HELD[key] = decimation_matrix(*lengths, kernel, edge).to(device, dtype)
        return held


def decimation_matrix(length: int, short: int, kernel: Kernel, edge: Edge) -> Tensor:
    """(short, length) float64: row i holds the weights of output pixel i; each row sums to 1."""
    scale = length / short
    reach, weight = KERNELS[kernel]
    margin = math.ceil(reach * scale)
    place = torch.arange(-margin, length + margin, dtype=torch.float64)
    centre = (torch.arange(short, dtype=torch.float64)[:, None] + 0.5) * scale - 0.5
    matrix = weight(place - centre, scale)
    if edge == "replicate":
        source = place.long().clamp(0, length - 1)
        matrix = torch.zeros(short, length, dtype=torch.float64).index_add(1, source, matrix)
    else:
        matrix = matrix[:, margin : margin + length]
    return matrix / matrix.sum(1, keepdim=True)


def area(distance: Tensor, scale: float) -> Tensor:
    """Length that a pixel at `distance` pixels shares with a footprint of `scale` pixels."""
    return ((1 + scale) / 2 - distance.abs()).clamp(0, 1)


def lanczos(distance: Tensor, scale: float, lobes: int) -> Tensor:
    """sinc(t) sinc(t / lobes) for |t| < lobes, else 0; t = distance / scale."""
    t = distance / scale
    return torch.where(t.abs() < lobes, torch.sinc(t) * torch.sinc(t / lobes), 0.0)


def cubic(distance: Tensor, scale: float, a: float = -0.5) -> Tensor:
    """Keys' cubic convolution kernel, of reach 2, at t = distance / scale."""
    t = distance.abs() / scale
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = (((t - 5) * t + 8) * t - 4) * a
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0.0))


KERNELS: Mapping[
    Kernel, tuple[float, Callable[[Tensor, float], Tensor]]
] = {  # reach in output pixels; weight at a distance in input pixels, scale
    "bicubic": (2, cubic),
    "lanczos2": (2, partial(lanczos, lobes=2)),
    "lanczos3": (3, partial(lanczos, lobes=3)),
    "area": (0.5, area),
}
