"""What every backend must do: on the CPU in the contract suite, on GPUs and on runtimes that are played in their own tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from on_threads import on_threads

from restore_sdk.backends.base import Backend
from restore_sdk.errors import RestorerClosedError


def check_bits_on_threads(backend: Backend, batches: Sequence[np.ndarray], threads: int = 8) -> None:
    """`threads` threads on one backend, each with its share of `batches`, get the bits of one thread."""
    alone = [backend.infer(batch) for batch in batches]
    together: dict[int, np.ndarray] = {}

    def work(first: int) -> None:
        for index in range(first, len(batches), threads):
            together[index] = backend.infer(batches[index])

    on_threads(work, threads)
    for index, want in enumerate(alone):
        np.testing.assert_array_equal(together[index], want)


def check_closed_twice(backend: Backend, batch: np.ndarray) -> None:
    """Closing twice is fine; `batch` is refused afterwards."""
    backend.close()
    backend.close()
    with pytest.raises(RestorerClosedError):
        backend.infer(batch)
