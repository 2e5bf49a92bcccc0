"""What open_tensorrt asks before TensorRT is asked anything, and what it does with engines that are refused, kept or not to be
built: on a TensorRT and a GPU that are played."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from played_tensorrt import Diagnostics, PlayedDevice, PlayedTensorRT, Validity

from restore_sdk.backends import tensorrt_engine
from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_session import EngineRefusedError
from restore_sdk.backends.engine_source import EngineNotKeptError
from restore_sdk.backends.tensorrt_engine import open_tensorrt
from restore_sdk.errors import (
    BackendError,
    DeviceMemoryError,
    DeviceUnavailableError,
    MissingExtraError,
    ModelHashError,
    ModelSpecError,
    OptionsError,
)
from restore_sdk.spec import ModelSpec

Open = Callable[..., Any]
SaveModel = Callable[..., Path]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def refuse_import(name: str) -> None:
    raise AssertionError(f"{name} was imported")


def test_no_driver(small_model: Path, played: PlayedTensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is not even loaded."""
    monkeypatch.setattr(tensorrt_engine, "driver_reason", lambda: "NVIDIA's driver is not installed")
    monkeypatch.setattr(tensorrt_engine, "load_api", refuse_import)
    with pytest.raises(DeviceUnavailableError, match=r"'tensorrt' is not available here .*driver is not installed"):
        open_tensorrt(small_model)


def test_no_driver_for_a_plan_names_what_runs_without_one(
    small_model: Path, small_spec: ModelSpec, played: PlayedTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_model.with_name("small.plan")
    plan.write_bytes(b"plan")
    build = {"api": "tensorrt", "version": "11.4.0.106", "plan_sha256": hashlib.sha256(b"plan").hexdigest()}
    beside = {"schema": 1, "spec": json.loads(small_spec.to_json()), "build": build}
    plan.with_name("small.plan.json").write_text(json.dumps(beside))
    monkeypatch.setattr(tensorrt_engine, "driver_reason", lambda: "NVIDIA's driver is not installed")
    with pytest.raises(DeviceUnavailableError, match=r"install the driver, or pass the \.onnx file it was built from$"):
        open_tensorrt(plan)
    with pytest.raises(DeviceUnavailableError, match=r"or pass backend='onnxruntime'$"):
        open_tensorrt(small_model)


def test_not_installed(small_model: Path, played: PlayedTensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_engine, "find_spec", lambda name: None)
    for api, extra in (("auto", "tensorrt"), ("tensorrt_rtx", "rtx")):
        with pytest.raises(MissingExtraError, match=rf"restore-sdk\[{extra}\]"):
            open_tensorrt(small_model, api=api)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wish",
    [
        {"build": "later"},
        {"finite": "hope"},
        {"contexts": 0},
        {"contexts": True},
        {"api": "tensorrt_lean"},
        {"memory": "numpy"},
        {"device": "cpu"},
        {"device": "cuda:x"},
        {"device": None},
        {"threads": 0},
        {"api": "tensorrt_rtx", "options": EngineOptions(api="tensorrt")},
    ],
)
def test_unknown_wishes(wish: dict[str, Any], small_model: Path, played: PlayedTensorRT) -> None:
    with pytest.raises(OptionsError):
        open_tensorrt(small_model, **wish)
    assert played.asked == []


def test_a_model_that_this_backend_cannot_feed(save_model: SaveModel, small_spec: ModelSpec, played: PlayedTensorRT) -> None:
    model = save_model(spec=dataclasses.replace(small_spec, inputs=("image", "mask")))
    with pytest.raises(ModelSpecError, match="feeds"):
        open_tensorrt(model)
    with pytest.raises(ModelHashError):
        open_tensorrt(model, sha256="ab" * 32)
    assert played.asked == []


@pytest.mark.parametrize(
    ("method", "answer", "says"),
    [
        ("get_tensor_dtype", "DataType.HALF", "is DataType.HALF, expected DataType.FLOAT"),
        ("get_tensor_profile_shape", [[]], "no optim"),
    ],
)
def test_an_engine_that_is_not_what_its_spec_says(
    method: str, answer: object, says: str, open_played: Open, played: PlayedTensorRT, gpu: PlayedDevice
) -> None:
    played.answers[method] = answer
    with pytest.raises(ModelSpecError, match=says):
        open_played()
    assert (gpu.closed, +gpu.live) == (1, {})


def test_the_key_holds_what_an_engine_depends_on(open_played: Open, tmp_path: Path) -> None:
    open_played(options=EngineOptions(api="tensorrt", workspace_mib=64))
    (kept,) = (tmp_path / "engines").glob("*.engine")
    key = json.loads(kept.read_bytes().splitlines()[1])["key"]
    assert (key["api"], key["api_version"], key["driver"]) == ("tensorrt", "11.4.0.106", "580.65.06")
    assert (key["gpu"], key["compute_capability"], key["precision"]) == ("NVIDIA Played 4090", "8.6", "fp32")
    assert (key["options"]["workspace_mib"], key["profile"]["max"]) == (64, [2, 3, 64, 64])


def test_rtx_builds_for_this_gpu(open_played: Open, played: PlayedTensorRT, gpu: PlayedDevice, tmp_path: Path) -> None:
    played.become_rtx()
    for capability, targets in (((8, 6), ["8.6"]), ((9, 0), [])):
        gpu.capability = capability
        open_played(options=EngineOptions(api="tensorrt_rtx"), cache=EngineCache(tmp_path / str(capability[0])))
        (kept,) = (tmp_path / str(capability[0])).glob("*.engine")
        assert json.loads(kept.read_bytes().splitlines()[1])["key"]["options"]["compute_capabilities"] == targets


def test_a_gpu_that_rtx_does_not_run_on(open_played: Open, played: PlayedTensorRT) -> None:
    """Hopper: the engine builds, and is asked about before it is loaded."""
    played.become_rtx()
    played.answers["get_engine_validity"] = (Validity.INVALID, int(Diagnostics.UNSUPPORTED_CC))
    with pytest.raises(EngineRefusedError, match=r"\(unsupported cc\).*pip install 'restore-sdk\[tensorrt\]'"):
        open_played(options=EngineOptions(api="tensorrt_rtx"))
    assert "deserialize_cuda_engine" not in played.asked


@pytest.mark.parametrize(
    ("reasons", "kind"),
    [
        (Diagnostics.OLD_CUDA_DRIVER, BackendError),
        (Diagnostics.OLD_CUDA_RUNTIME, BackendError),
        (Diagnostics.CUDA_ERROR, BackendError),
        (Diagnostics.INSUFFICIENT_GPU_MEMORY, DeviceMemoryError),
        (Diagnostics.INSUFFICIENT_GPU_MEMORY | Diagnostics.CUDA_ERROR, DeviceMemoryError),
    ],
)
def test_a_machine_that_cannot_run_it_is_no_fault_of_a_kept_engine(
    reasons: int, kind: type[Exception], open_played: Open, played: PlayedTensorRT
) -> None:
    played.become_rtx()
    rtx = EngineOptions(api="tensorrt_rtx")
    open_played(options=rtx)
    played.answers["get_engine_validity"] = [(Validity.INVALID, int(reasons))]
    with pytest.raises(BackendError) as caught:
        open_played(options=rtx)
    assert type(caught.value) is kind
    assert open_played(options=rtx).report()["engine"]["outcome"] == "kept"


@pytest.mark.parametrize(
    "reasons",
    [0, Diagnostics.VERSION_MISMATCH, Diagnostics.MALFORMED_ENGINE, Diagnostics.VERSION_MISMATCH | Diagnostics.CUDA_ERROR],
)
def test_a_kept_engine_at_fault_is_built_again(reasons: int, open_played: Open, played: PlayedTensorRT) -> None:
    """tensorrt_rtx 1.7 gives no reason for many a damaged engine."""
    played.become_rtx()
    rtx = EngineOptions(api="tensorrt_rtx")
    open_played(options=rtx)
    played.answers["get_engine_validity"] = [(Validity.INVALID, int(reasons))]
    assert open_played(options=rtx).report()["engine"]["outcome"] == "rebuilt"


def test_an_engine_that_could_be_faster_is_used_and_said_so(open_played: Open, played: PlayedTensorRT) -> None:
    played.become_rtx()
    played.answers["get_engine_validity"] = (Validity.SUBOPTIMAL, 0)
    notes = open_played(options=EngineOptions(api="tensorrt_rtx")).report()["engine"]["notes"]
    assert "may be slower" in notes[0]


def test_a_kept_engine_that_is_refused_is_built_again_once_and_reported(open_played: Open, played: PlayedTensorRT) -> None:
    open_played()
    played.answers["deserialize_cuda_engine"], played.says["deserialize_cuda_engine"] = [None, ...], "version mismatch"
    engine = open_played().report()["engine"]
    assert engine["outcome"] == "rebuilt"
    assert "version mismatch" in engine["notes"][0]
    assert open_played().report()["engine"]["outcome"] == "kept"
    played.answers["deserialize_cuda_engine"] = [None, None]
    with pytest.raises(EngineRefusedError, match="version mismatch"):
        open_played()


def test_out_of_memory_at_the_opening_is_no_fault_of_the_engine(
    open_played: Open, played: PlayedTensorRT, tmp_path: Path
) -> None:
    open_played()
    played.answers["deserialize_cuda_engine"], played.says["deserialize_cuda_engine"] = None, "out of memory"
    with pytest.raises(BackendError, match="out of memory"):
        open_played()
    assert list((tmp_path / "engines").glob("*.engine"))


def test_never_takes_only_what_is_kept(open_played: Open) -> None:
    with pytest.raises(EngineNotKeptError, match=r"1x3x8x8 to 2x3x64x64 is kept for this GPU; pass build='wait'"):
        open_played(build="never")
    open_played()
    backend = open_played(build="never")
    assert backend.infer(noise(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    with pytest.raises(EngineNotKeptError, match="1x3x4x8 to 2x3x64x64"):
        backend.infer(noise(1, 3, 4, 8))


def test_progress_reaches_the_caller(open_played: Open) -> None:
    seen: list[tuple[float, str]] = []
    open_played(on_progress=lambda fraction, phase: seen.append((fraction, phase)))
    assert seen == [(1.0, "played")]
