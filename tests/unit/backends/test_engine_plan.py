"""Plans and the JSON beside them: what is compared before TensorRT, which is played here, sees a byte."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from played_tensorrt import PlayedTensorRT

from restore_sdk.backends import tensorrt_engine
from restore_sdk.backends.engine_profile import EngineProfile
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.backends.tensorrt_engine import open_tensorrt
from restore_sdk.errors import (
    BackendError,
    ModelDamagedError,
    ModelHashError,
    ModelSpecError,
    OptionsError,
    RestoreWarning,
)
from restore_sdk.spec import ModelSpec

Open = Callable[..., Any]
SaveModel = Callable[..., Path]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.fixture
def plan(small_model: Path, small_spec: ModelSpec, small_profile: EngineProfile, tmp_path: Path) -> Path:
    """A .plan file of the played TensorRT with its JSON, as export writes them."""
    path = tmp_path / "small.plan"
    path.write_bytes(json.dumps(small_profile.as_json()).encode() + b"\n" + small_model.read_bytes())
    write_sidecar(path, small_spec, onnx_sha256=hashlib.sha256(small_model.read_bytes()).hexdigest())
    return path


def write_sidecar(plan: Path, spec: ModelSpec, **build: str) -> None:
    facts = {"api": "tensorrt", "version": "11.4.0.106", "plan_sha256": hashlib.sha256(plan.read_bytes()).hexdigest(), **build}
    beside = {"schema": 1, "spec": json.loads(spec.to_json()), "build": facts}
    plan.with_name(f"{plan.name}.json").write_text(json.dumps(beside))


def test_a_plan_file(plan: Path, open_played: Open, played: PlayedTensorRT, small_model: Path) -> None:
    backend, batch = open_played(plan, api="tensorrt"), noise(1, 3, 16, 16)
    want = open_onnxruntime(small_model, device="cpu", threads=1).infer(batch)
    np.testing.assert_allclose(backend.infer(batch), want, atol=1e-5)
    report = backend.report()
    assert report["sha256"] == hashlib.sha256(plan.read_bytes()).hexdigest()
    assert report["engine"]["outcome"] == "file"
    with pytest.raises(BackendError, match=r"cannot be built for other shapes; pass the \.onnx file"):
        backend.infer(noise(1, 3, 128, 8))
    with pytest.raises(OptionsError, match="was built with"):
        open_played(plan, api="tensorrt_rtx")


def test_a_plan_is_compared_before_tensorrt_sees_it(plan: Path, open_played: Open, played: PlayedTensorRT) -> None:
    content = bytearray(plan.read_bytes())
    content[-1] ^= 1
    plan.write_bytes(content)
    with pytest.raises(ModelHashError, match="export it again"):
        open_played(plan)
    with pytest.raises(ModelHashError):
        open_played(plan, sha256="ab" * 32)
    assert played.asked == []
    assert open_played(plan, sha256=hashlib.sha256(content).hexdigest()).report()["device"] == "cuda:0"


@pytest.mark.parametrize(
    ("beside", "kind", "says"),
    [
        (None, ModelDamagedError, "must lie beside it"),
        ("{", ModelDamagedError, "is not JSON"),
        ("[]", ModelDamagedError, "not written by export"),
        ('{"schema": 2}', ModelSpecError, "has schema 2"),
        ('{"schema": 1}', ModelDamagedError, "does not say what it is"),
        ('{"schema": 1, "build": {"api": "tensorrt_lean"}, "spec": {}}', ModelDamagedError, "does not say what it is"),
    ],
)
def test_a_plan_without_its_description(
    beside: str | None, kind: type[Exception], says: str, plan: Path, played: PlayedTensorRT
) -> None:
    sidecar = plan.with_name(f"{plan.name}.json")
    sidecar.unlink()
    if beside is not None:
        sidecar.write_text(beside)
    with pytest.raises(kind, match=says):
        open_tensorrt(plan)
    assert played.asked == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_a_pipe_beside_a_plan_is_not_waited_for(plan: Path, played: PlayedTensorRT) -> None:
    plan.with_name(f"{plan.name}.json").unlink()
    os.mkfifo(plan.with_name(f"{plan.name}.json"))
    with pytest.raises(ModelDamagedError, match=r"small\.plan\.json, .* cannot be read \(it is not a regular file\)"):
        open_tensorrt(plan)


def test_a_plan_that_is_gone(plan: Path, played: PlayedTensorRT) -> None:
    plan.unlink()
    with pytest.raises(ModelDamagedError, match="cannot be read"):
        open_tensorrt(plan)


def test_a_plan_of_another_version_says_so_if_it_is_refused(
    plan: Path, small_spec: ModelSpec, open_played: Open, played: PlayedTensorRT
) -> None:
    write_sidecar(plan, small_spec, version="10.16.1.11")
    assert open_played(plan).report()["version"] == "11.4.0.106"
    played.answers["deserialize_cuda_engine"] = None
    with pytest.raises(BackendError, match=r"built by tensorrt 10\.16\.1\.11, here is 11\.4\.0\.106"):
        open_played(plan)


def test_a_plan_falls_back_to_its_model(
    plan: Path,
    open_played: Open,
    played: PlayedTensorRT,
    small_model: Path,
    save_model: SaveModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played.overflow = lambda batch: True
    backend = open_played(plan, finite="fallback")
    with pytest.raises(BackendError, match=r"no \.onnx file lies beside"):
        backend.infer(noise(1, 3, 8, 8))
    plan.with_name("any.onnx").write_bytes(small_model.read_bytes())
    with monkeypatch.context() as patched:
        patched.setattr(tensorrt_engine, "model_of_plan", lambda file: save_model(spec=None))  # between the look and the opening
        with pytest.raises(ModelHashError, match="changed meanwhile"):
            backend.infer(noise(1, 3, 8, 8))
    with pytest.warns(RestoreWarning):
        assert np.isfinite(backend.infer(noise(1, 3, 8, 8))).all()
