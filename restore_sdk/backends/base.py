"""The seam between the SDK and whatever runs a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from restore_sdk.spec import ModelSpec

FloatNCHW: TypeAlias = NDArray[np.float32]


class Backend(Protocol):
    """One network on one device. `infer` may be called from several threads at once.

    Vendor exceptions stop here and come out as BackendError. A backend never falls back silently: `report()` says what runs.
    """

    @property
    def spec(self) -> ModelSpec:
        """What the network promises."""
        ...

    def infer(self, batch: FloatNCHW, /) -> FloatNCHW:
        """Restore (N, C, H, W) float32, C = spec.channels, H and W multiples of spec.size_multiple, nominally in
        spec.value_range. Returns (N, C, H * scale, W * scale) float32, owned by the caller. Raises BackendError."""
        ...

    def warm_up(self, shapes: Iterable[tuple[int, int, int, int]], /) -> None:
        """Run once on each (N, C, H, W), so that the first real call pays nothing extra."""
        ...

    def report(self) -> Mapping[str, object]:
        """What really runs: "backend", "version", "device", "precision", and whatever else the backend knows. JSON types."""
        ...

    def close(self) -> None:
        """Release everything; a second call does nothing."""
        ...


@runtime_checkable
class PipelinedBackend(Backend, Protocol):
    """A backend that copies one batch while it computes another."""

    def infer_many(self, batches: Iterable[FloatNCHW], /) -> Iterator[FloatNCHW]:
        """The results of `infer` for each of `batches`, in their order; several are under way at once. Raises BackendError."""
        ...


class Bound(Protocol):
    """A network and the two arrays it reads and writes. One thread at a time."""

    @property
    def given(self) -> FloatNCHW:
        """What run() reads: to be filled in."""
        ...

    @property
    def restored(self) -> FloatNCHW:
        """What run() writes; the next run() writes it again."""
        ...

    def run(self) -> None:
        """What `infer` does with these arrays. Raises BackendError, and RestorerClosedError once the backend is closed."""
        ...


@runtime_checkable
class BindingBackend(Backend, Protocol):
    """A backend whose runtime spends less on arrays that it knows: on a small image these microseconds count."""

    def bind(self, shape: tuple[int, int, int, int], /) -> Bound:
        """New arrays for a batch of `shape`, (N, C, H, W). Raises BackendError, RestorerClosedError."""
        ...


@runtime_checkable
class DeviceBackend(Backend, Protocol):
    """A backend that works on arrays that lie on its GPU already."""

    @property
    def device_index(self) -> int:
        """Number of that GPU."""
        ...

    def infer_on_device(self, given: int, restored: int, shape: tuple[int, int, int, int], stream: int, /) -> None:
        """Queue one batch on the caller's CUDA stream and return at once.

        given, restored  device pointers of contiguous float32 (N, C, H, W) and (N, C, H * scale, W * scale). They must stay
                         valid, and `given` unchanged, until the stream has got that far.
        shape            of `given`
        stream           handle of a CUDA stream of this GPU

        Nothing waits to look at the values; a backend may raise for an earlier batch. Raises BackendError.
        """
        ...
