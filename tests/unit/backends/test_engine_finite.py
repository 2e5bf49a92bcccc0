"""Results that are not finite, on a TensorRT and a GPU that are played."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from played_tensorrt import PlayedTensorRT

from restore_sdk.backends.base import Backend
from restore_sdk.backends.engine_finite import FiniteCheck
from restore_sdk.backends.full_precision import full_precision_beside
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.errors import (
    BackendError,
    ModelHashError,
    RestorerClosedError,
    RestoreWarning,
)
from restore_sdk.spec import ModelSpec

Open = Callable[..., Any]
SaveModel = Callable[..., Path]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def test_overflow_raises(open_played: Open, played: PlayedTensorRT) -> None:
    backend = open_played()
    played.overflow = lambda batch: True
    with pytest.raises(BackendError, match=r"192 of 192 values .* not finite.*finite='fallback'"):
        backend.infer(noise(1, 3, 8, 8))
    assert np.isnan(backend.infer(np.full((1, 3, 8, 8), np.nan, np.float32))).all()  # garbage in is not the network's fault


def test_overflow_ignored(open_played: Open, played: PlayedTensorRT) -> None:
    backend = open_played(finite="ignore")
    played.overflow = lambda batch: True
    assert np.isnan(backend.infer(noise(1, 3, 8, 8))).all()


def test_overflow_falls_back_to_the_next_backend(open_played: Open, played: PlayedTensorRT, small_model: Path) -> None:
    backend = open_played(finite="fallback", contexts=1)
    played.overflow = lambda batch: batch[0, 0, 0, 0] > 0.9
    batches = [noise(1, 3, 8, 8) for _ in range(3)]
    batches[1][:] = 1
    with pytest.warns(RestoreWarning, match="overflows.*onnxruntime"):
        restored = list(backend.infer_many(batches))
    want = open_onnxruntime(small_model, device="cpu", threads=1).infer(batches[1])
    np.testing.assert_array_equal(restored[1], want)
    assert all(np.isfinite(result).all() for result in restored)
    assert backend.report()["finite"] == {"policy": "fallback", "batches": 1, "fallback": "onnxruntime on cpu"}


def test_overflow_falls_back_to_the_fp32_twin(
    save_model: SaveModel, small_spec: ModelSpec, small_model: Path, open_played: Open, played: PlayedTensorRT, tmp_path: Path
) -> None:
    half = save_model(spec=dataclasses.replace(small_spec, precision="fp16")).replace(tmp_path / "net_fp16.onnx")
    twin = tmp_path / "net.onnx"
    twin.write_bytes(small_model.read_bytes())
    backend = open_played(half, finite="fallback")
    answers = [True, False]
    played.overflow = lambda batch: answers.pop(0)
    with pytest.warns(RestoreWarning, match="tensorrt in fp32"):
        assert np.isfinite(backend.infer(noise(1, 3, 8, 8))).all()
    assert backend.report()["finite"]["fallback"] == "tensorrt on cuda:0"


def test_a_model_that_was_changed_meanwhile_is_no_fallback(
    save_model: SaveModel, small_spec: ModelSpec, open_played: Open, played: PlayedTensorRT
) -> None:
    path = save_model()
    backend = open_played(path, finite="fallback")
    save_model(spec=dataclasses.replace(small_spec, name="another"))
    played.overflow = lambda batch: True
    with pytest.raises(ModelHashError, match="it was changed meanwhile: open the model again") as caught:
        backend.infer(noise(1, 3, 8, 8))
    assert caught.value.want == backend.report()["sha256"]


def test_what_falls_back_during_close_is_not_left_open(small_spec: ModelSpec) -> None:
    """A call that still runs may overflow when another thread has closed the check."""
    opened: list[Backend] = []

    def fallback() -> Backend:
        opened.append(FunctionBackend(small_spec, lambda batch: batch))
        return opened[-1]

    check = FiniteCheck("fallback", fallback)
    check.close()
    batch = noise(1, 3, 8, 8)
    with pytest.raises(RestorerClosedError):
        check.checked(batch, np.full_like(batch, np.nan))
    assert opened == []
    check.close()


@pytest.mark.parametrize("change", [{"scale": 2}, {"precision": "fp16"}, {"channels": 4}])
def test_another_network_is_no_twin(change: dict[str, Any], save_model: SaveModel, small_spec: ModelSpec, tmp_path: Path) -> None:
    half = dataclasses.replace(small_spec, precision="fp16")
    save_model(spec=dataclasses.replace(small_spec, **change)).replace(tmp_path / "net_fp32.onnx")
    (tmp_path / "net.onnx").write_bytes(b"junk")
    assert full_precision_beside(tmp_path / "net_fp16.onnx", half) is None
    save_model().replace(tmp_path / "net_fp32.onnx")
    assert full_precision_beside(tmp_path / "net_fp16.plan", half) == tmp_path / "net_fp32.onnx"
    assert full_precision_beside(tmp_path / "net_fp32.onnx", small_spec) is None
