"""The TensorRT backend at work, on a TensorRT and a GPU that are played: our own logic, and no word on NVIDIA's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backend_checks import check_bits_on_threads, check_closed_twice
from played_tensorrt import SCRATCH_PER_PIXEL, PlayedDevice, PlayedTensorRT

from restore_sdk.backends.base import PipelinedBackend
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.errors import (
    BackendError,
    DeviceMemoryError,
    RestorerClosedError,
)

Open = Callable[..., Any]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.fixture(scope="module")
def reference(small_model: Path) -> Callable[[np.ndarray], np.ndarray]:
    return open_onnxruntime(small_model, device="cpu", threads=1).infer


def close_enough(got: np.ndarray, want: np.ndarray) -> bool:
    return got.shape == want.shape and bool(np.abs(got - want).max() < 1e-5)


def test_it_restores(open_played: Open, reference: Callable[[np.ndarray], np.ndarray]) -> None:
    backend = open_played()
    for shape in ((1, 3, 8, 8), (2, 3, 64, 20), (1, 3, 32, 64), (1, 3, 8, 8)):
        batch = noise(*shape)
        restored = backend.infer(batch)
        assert close_enough(restored, reference(batch))
        assert restored.flags.owndata
    strided = noise(1, 3, 32, 32)[:, :, ::2, ::-2]
    assert close_enough(backend.infer(strided), reference(np.ascontiguousarray(strided)))


def test_many_in_their_order(open_played: Open, reference: Callable[[np.ndarray], np.ndarray], gpu: PlayedDevice) -> None:
    backend = open_played()
    assert isinstance(backend, PipelinedBackend)
    batches = [noise(1, 3, 8 + 4 * (i % 3), 16, seed=i) for i in range(10)]
    for batch, restored in zip(batches, backend.infer_many(iter(batches)), strict=True):
        assert close_enough(restored, reference(batch))
    assert list(backend.infer_many([])) == []
    assert backend.report()["engine"]["contexts"] == 3


def test_one_that_stops_taking_results_holds_up_nobody(open_played: Open, gpu: PlayedDevice) -> None:
    backend = open_played()
    results = backend.infer_many(noise(1, 3, 8, 8, seed=i) for i in range(10))
    next(results)
    backend.infer(noise(1, 3, 8, 8))
    results.close()
    backend.close()
    assert gpu.closed == 1


def test_eight_threads_get_the_bits_of_one(open_played: Open) -> None:
    check_bits_on_threads(open_played(), [noise(1, 3, 8 + 8 * (i % 4), 16, seed=i) for i in range(24)])


def test_shapes_inside_the_range_need_no_other_engine(open_played: Open, played: PlayedTensorRT) -> None:
    backend = open_played()
    for side in (8, 64, 12):
        backend.infer(noise(1, 3, side, 64 + 8 - side))
    assert len(played.plans) == 1
    assert backend.report()["engine"]["outcome"] == "built"


def test_a_shape_outside_is_built_once_for_a_wider_range(
    open_played: Open, played: PlayedTensorRT, reference: Callable[[np.ndarray], np.ndarray]
) -> None:
    backend = open_played()
    batches = [noise(*shape) for shape in ((1, 3, 16, 16), (3, 3, 4, 16), (1, 3, 72, 8), (1, 3, 16, 16))]
    for batch, restored in zip(batches, backend.infer_many(batches), strict=True):
        assert close_enough(restored, reference(batch))
    profile = backend.report()["engine"]["profile"]
    assert profile == {"min": [1, 3, 4, 8], "opt": [1, 3, 32, 32], "max": [4, 3, 1024, 64]}
    assert len(played.plans) == 3
    for height in (80, 800, 1024):
        assert backend.takes((4, 3, height, 64))
    assert open_played(profile=None).takes((1, 3, 4, 1024))


def test_what_it_kept_is_found_again(open_played: Open) -> None:
    assert [open_played().report()["engine"]["outcome"] for _ in range(2)] == ["built", "kept"]


def test_report_is_json_and_says_what_runs(open_played: Open) -> None:
    report = dict(open_played(chosen="it works here").report())
    assert json.loads(json.dumps(report)) == report
    assert (report["backend"], report["api"], report["device"]) == ("tensorrt", "tensorrt", "cuda:0")
    assert (report["gpu"], report["precision"], report["chosen"]) == ("NVIDIA Played 4090", "fp32", "it works here")
    assert report["finite"] == {"policy": "raise", "batches": 0, "fallback": None}


@pytest.mark.parametrize("answer", [None, RuntimeError("played"), TypeError("factory function returned nullptr")])
@pytest.mark.parametrize("method", ["Runtime", "deserialize_cuda_engine", "create_runtime_config"])
def test_a_no_at_the_opening(method: str, answer: object, open_played: Open, played: PlayedTensorRT, gpu: PlayedDevice) -> None:
    played.answers[method], played.says[method] = answer, "why it cannot be"
    with pytest.raises(BackendError) as caught:
        open_played()
    if answer is None and method != "Runtime":  # that has no logger yet
        assert "[ERROR] why it cannot be" in caught.value.log
    assert not +gpu.live
    assert gpu.closed == 1


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("create_execution_context", None),
        ("create_execution_context", RuntimeError("played")),
        ("set_input_shape", False),
        ("get_tensor_shape", (1, 3, 8, 4)),
        ("update_device_memory_size_for_shapes", -1),
        ("update_device_memory_size_for_shapes", 0),
        ("set_tensor_address", False),
        ("execute_async_v3", False),
        ("execute_async_v3", MemoryError()),
    ],
)
def test_a_no_at_work_is_an_error_with_the_log_and_the_next_call_works(
    method: str, answer: object, open_played: Open, played: PlayedTensorRT, reference: Callable[[np.ndarray], np.ndarray]
) -> None:
    backend, batch = open_played(), noise(1, 3, 8, 8)
    played.answers[method], played.says[method] = answer, "why it cannot be"
    with pytest.raises(BackendError) as caught:
        backend.infer(batch)
    if not isinstance(answer, (Exception, tuple)):
        assert "[ERROR] why it cannot be" in caught.value.log
    played.answers.clear()
    played.says.clear()
    assert close_enough(backend.infer(batch), reference(batch))


def test_results_before_a_failure_still_come(open_played: Open, played: PlayedTensorRT) -> None:
    backend = open_played()
    played.answers["execute_async_v3"] = [True, True, False]
    results = backend.infer_many(noise(1, 3, 8, 8 + 4 * i) for i in range(5))
    assert [next(results).shape[3], next(results).shape[3]] == [8, 12]
    with pytest.raises(BackendError, match="does not run the network"):
        next(results)


def test_an_engine_without_need_of_scratch(open_played: Open, played: PlayedTensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 bytes, and no error said."""
    monkeypatch.setattr("played_tensorrt.SCRATCH_PER_PIXEL", 0)
    monkeypatch.setattr("ctypes.memset", lambda *_: None)
    backend = open_played()
    backend.infer(noise(1, 3, 8, 8))
    assert played.contexts[0].memories == []


def test_scratch_memory_is_that_of_the_shapes_that_came(open_played: Open, played: PlayedTensorRT) -> None:
    backend = open_played(contexts=1)
    for side in (16, 8, 32, 16):
        backend.infer(noise(1, 3, side, side))
    sizes = [SCRATCH_PER_PIXEL * side * side for side in (16, 16, 32, 32)]
    assert [context.memories for context in played.contexts] == [sizes]


def test_out_of_memory_is_typed_and_survived(open_played: Open, played: PlayedTensorRT, gpu: PlayedDevice) -> None:
    backend = open_played(contexts=1)
    gpu.total = 30_000  # bytes; two images of 32x32 take 24 576, their scratch 8192
    with pytest.raises(DeviceMemoryError) as caught:
        backend.infer(noise(1, 3, 32, 32))
    assert (caught.value.required, caught.value.tile) == (8192, (32, 32))
    assert 0 < (caught.value.free or 0) < 8192
    assert backend.infer(noise(1, 3, 16, 16)).shape == (1, 3, 16, 16)
    played.answers["execute_async_v3"], played.says["execute_async_v3"] = False, "Cuda Runtime (out of memory)"
    with pytest.raises(DeviceMemoryError):
        backend.infer(noise(1, 3, 16, 16))


def test_nothing_is_left_open(open_played: Open, gpu: PlayedDevice) -> None:
    backend = open_played()
    list(backend.infer_many(noise(1, 3, 8 + 4 * i, 8) for i in range(8)))
    backend.infer(noise(1, 3, 128, 8))
    check_closed_twice(backend, noise(1, 3, 8, 8))
    assert not +gpu.live
    assert (gpu.used, gpu.closed) == (0, 1)
    with pytest.raises(RestorerClosedError):
        backend.report()


def test_a_shape_that_comes_back_is_replayed_as_a_graph(open_played: Open) -> None:
    backend = open_played(contexts=1)
    for _ in range(4):
        backend.infer(noise(1, 3, 8, 8))
    engine = backend.report()["engine"]
    assert (engine["pipeline"]["graph_launches"], engine["cuda_graphs"]) == (3, "one for each slot's shape")


def test_rtx_makes_its_own_graphs(open_played: Open, played: PlayedTensorRT) -> None:
    played.become_rtx()
    backend = open_played(options=EngineOptions(api="tensorrt_rtx"))
    for _ in range(4):
        backend.infer(noise(1, 3, 8, 8))
    assert [context.config.cuda_graph_strategy for context in played.contexts] == ["whole graph"] * 3
    engine = backend.report()["engine"]
    assert (engine["pipeline"]["graph_launches"], engine["cuda_graphs"]) == (0, "tensorrt_rtx")
    assert "set_runtime_cache" in played.asked
