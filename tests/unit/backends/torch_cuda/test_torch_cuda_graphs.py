"""Graphs that cannot be captured, and memory that goes back, of the torch backend without a GPU."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from played_program import blur, noise, on_device

from restore_sdk.backends.torch_cuda import CudaProgram, CudaProgramBackend
from restore_sdk.cuda.pipeline import HoldingNetwork
from restore_sdk.errors import RestoreWarning


def test_a_pass_that_cannot_be_captured_runs_without(backend: CudaProgramBackend, played: Any) -> None:
    """As where another thread waits for the device meanwhile. What PyTorch leaves undone is then done, and all else goes on."""
    before, batch = noise(1, 3, 4, 4), noise(1, 3, 8, 8)
    want = backend.infer(before)
    played.cuda.refused = 1
    with pytest.warns(RestoreWarning, match="previous error during capture; batches of 1 x 3 x 8 x 8 run without"):
        first = backend.infer(batch)
    np.testing.assert_array_equal(first, blur(torch.from_numpy(batch)).numpy())
    np.testing.assert_array_equal(backend.infer(batch * np.float32(0.5)), blur(torch.from_numpy(batch * np.float32(0.5))).numpy())
    np.testing.assert_array_equal(backend.infer(before), want)
    played.cuda.log.clear()
    on_device(backend, noise(1, 3, 8, 10), 77)
    assert ("replay", 77) in played.cuda.log, "later shapes are captured again"
    backend.close()


def test_the_pipeline_may_have_the_memory_of_graphs(backend: CudaProgramBackend, played: Any) -> None:
    assert isinstance(backend, HoldingNetwork)
    on_device(backend, noise(1, 3, 4, 4), 77)
    played.cuda.log.clear()
    backend.release_memory()
    assert played.cuda.log == [("finished", 77), ("empty_cache",)]


def test_closing_frees_the_weights(played: Any) -> None:
    """Exported modules refer to themselves."""

    class Cyclic(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.forward_again = self.forward

        def forward(self, given: Any) -> Any:
            return played.cuda.module(given)

    module = Cyclic()
    program, gone = CudaProgram(played, module, "cuda:0"), weakref.ref(module)
    del module
    program.run(noise(1, 3, 8, 8))
    program.close()
    assert gone() is None
