"""What a graph and a batch must look like for a spec: one set of checks for every runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.errors import BackendError, ModelSpecError, OptionsError
from restore_sdk.spec import ModelSpec

FLOAT32 = np.dtype(np.float32)
MOST_THREADS = 1024  # a runtime starts as many as it is told to: a hundred thousand take minutes and the machine with them


class Tensor(NamedTuple):
    """An input or output of a graph, in the runtime's own words; an axis that is no integer is dynamic."""

    name: str
    kind: str  # element type
    shape: Sequence[int | str | None]


def check_signature(inputs: Sequence[Tensor], outputs: Sequence[Tensor], spec: ModelSpec, *, float_kind: str) -> None:
    """The graph must be what the spec promises, or the first image would fail instead of the opening.

    float_kind  what the runtime calls float32. Raises ModelSpecError.
    """
    check_inputs(spec)
    names = tuple(tensor.name for tensor in inputs)
    if names != spec.inputs:
        raise ModelSpecError(f"the graph has inputs {names}, its spec promises {spec.inputs}")
    if len(outputs) != 1:
        raise ModelSpecError(f"the graph has {len(outputs)} outputs, expected 1")
    for tensor in (inputs[0], outputs[0]):
        _check_tensor(tensor, spec.channels, float_kind)


def check_inputs(spec: ModelSpec) -> None:
    """Raise ModelSpecError for a model that is fed more than an image."""
    if spec.inputs != ("image",):
        raise ModelSpecError(f"the model's spec has inputs {spec.inputs}, this backend feeds ('image',)", "use another backend")


def _check_tensor(tensor: Tensor, channels: int, float_kind: str) -> None:
    name, kind, shape = tensor
    if kind != float_kind:
        raise ModelSpecError(f"{name!r} is {kind}, expected {float_kind}")
    if len(shape) != 4:
        raise ModelSpecError(f"{name!r} has shape {list(shape)}, expected (N, C, H, W)")
    if isinstance(shape[1], int) and shape[1] != channels:
        raise ModelSpecError(f"{name!r} has {shape[1]} channels, the spec promises {channels}")
    fixed = [axis for axis in (0, 2, 3) if isinstance(shape[axis], int)]
    if fixed:
        raise ModelSpecError(f"{name!r} has shape {list(shape)} with axes {fixed} fixed, expected dynamic N, H and W")


def check_batch(batch: FloatNCHW, spec: ModelSpec) -> None:
    """Raise BackendError for anything but float32 (N, C, H, W) that the spec's network takes."""
    if batch.dtype != FLOAT32 or not fits(batch.shape, spec):
        raise BackendError(
            f"got {batch.dtype} of shape {batch.shape}, wanted {_wanted(spec)}; pad the batch, or let Restorer do it"
        )


def check_shape(shape: Sequence[int], spec: ModelSpec) -> None:
    """Raise BackendError for a shape that is none of the spec's network."""
    if not fits(shape, spec):
        raise BackendError(f"got a shape of {tuple(shape)}, wanted {_wanted(spec)}; pad the array, or let Restorer do it")


def fits(shape: Sequence[int], spec: ModelSpec) -> bool:
    """Whether the spec's network takes a batch of `shape`."""
    return (
        len(shape) == 4 and shape[1] == spec.channels and not shape[2] % spec.size_multiple and not shape[3] % spec.size_multiple
    )


def _wanted(spec: ModelSpec) -> str:
    return f"float32 of shape (N, {spec.channels}, H, W) with H and W multiples of {spec.size_multiple}"


def check_threads(threads: int | None) -> None:
    """Raise OptionsError for anything but None or an integer from 1 to MOST_THREADS."""
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS):
        raise OptionsError("threads", threads, f"an integer from 1 to {MOST_THREADS}, or None for one per physical core")
