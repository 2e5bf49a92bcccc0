"""What every backend that opened a model file does alike: checks, errors, warm-up, report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import numpy as np

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.backends.signature import check_batch
from restore_sdk.backends.vendor_errors import translated
from restore_sdk.spec import ModelSpec

Vendor = tuple[type[Exception], ...]  # what a runtime raises


class FileBackend(ABC):
    """One opened model file. Any number of threads may call `infer` at once; the results do not depend on it."""

    def __init__(self, spec: ModelSpec, report: Mapping[str, object], vendor: Vendor) -> None:
        self._spec, self._report, self._vendor = spec, dict(report), vendor

    @property
    def spec(self) -> ModelSpec:
        """What the network promises."""
        return self._spec

    def infer(self, batch: FloatNCHW, /) -> FloatNCHW:
        """Restore (N, C, H, W) float32. Raises BackendError, DeviceMemoryError and RestorerClosedError."""
        check_batch(batch, self._spec)
        try:
            return self._run(batch)
        except self._vendor as exc:
            raise translated("inference failed", exc, (batch.shape[2], batch.shape[3])) from exc

    @abstractmethod
    def _run(self, batch: FloatNCHW) -> FloatNCHW:
        """The same for a batch that was checked; the vendor's exceptions may pass. Raises RestorerClosedError."""

    def warm_up(self, shapes: Iterable[tuple[int, int, int, int]], /) -> None:
        """Run once on each (N, C, H, W)."""
        for shape in shapes:
            self.infer(np.zeros(shape, np.float32))

    def report(self) -> Mapping[str, object]:
        """What really runs."""
        return dict(self._report)

    def add_to_report(self, facts: Mapping[str, object]) -> None:
        """What the one who opened this backend has to say of it, in JSON types."""
        self._report.update(facts)

    @abstractmethod
    def close(self) -> None:
        """Release everything; a second call does nothing."""


def described(
    spec: ModelSpec, *, backend: str, version: str, device: str, chosen: str | None, **details: object
) -> dict[str, object]:
    """A report: what runs `spec`'s network and where, `details` of it, which file that is, and why "auto" came here if it did."""
    ours = {"backend": backend, "version": version, "device": device, "precision": spec.precision}
    reason = {} if chosen is None else {"chosen": chosen}
    return {**ours, **details, "model": spec.name, "sha256": spec.sha256, **reason}
