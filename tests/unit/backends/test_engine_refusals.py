"""What the real tensorrt_rtx refuses, past our own checks where they come first, and what its runtime says without a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from restore_sdk.backends import engine_build
from restore_sdk.backends.engine_answers import answered
from restore_sdk.backends.engine_api import driver_works
from restore_sdk.backends.engine_build import BuiltEngine, build_engine
from restore_sdk.backends.engine_log import vendor_logger
from restore_sdk.backends.engine_network import InputShapes
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_profile import profile_for
from restore_sdk.backends.engine_session import EngineRefusedError, load_engine
from restore_sdk.errors import BackendError, EngineBuildError
from restore_sdk.spec import ModelSpec

RTX = EngineOptions(api="tensorrt_rtx", optimization_level=0)
without_gpu = pytest.mark.skipif(driver_works(), reason="a GPU is here")


@pytest.fixture(scope="module", autouse=True)
def rtx() -> ModuleType:
    pytest.importorskip("tensorrt_rtx", reason="engines are built by tensorrt-rtx, which is not installed", exc_type=ImportError)
    return sys.modules["tensorrt_rtx"]


def build(content: bytes, spec: ModelSpec) -> BuiltEngine:
    return build_engine(content, spec, profile_for(spec, minimum=(16, 16), optimum=(64, 64), maximum=(128, 128)), RTX)


@pytest.mark.parametrize("kind", ["DFT", "StringNormalizer"])
def test_operators_that_it_does_not_have(kind: str, save_model: Callable[..., Path], small_spec: ModelSpec) -> None:
    def change(model: onnx.ModelProto) -> None:
        nodes = list(model.graph.node)
        nodes[-1].input[1] = "odd"
        axis = numpy_helper.from_array(np.array(3), "axis")
        inputs = ["noise", "", "axis"] if kind == "DFT" else ["noise"]
        model.graph.initializer.append(axis)
        model.graph.node.insert(len(nodes) - 1, helper.make_node(kind, inputs, ["odd"], name="odd0"))

    with pytest.raises(EngineBuildError) as caught:
        build(save_model(change).read_bytes(), small_spec)
    assert (caught.value.node, caught.value.operator) == ("odd0", kind)


def test_no_profile(small_model: Path, small_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_build, "set_profile", lambda *_: None)
    with pytest.raises(EngineBuildError, match="no optimization profile has been defined"):
        build(small_model.read_bytes(), small_spec)


def test_wrong_rank(small_model: Path, small_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT takes such a profile without a word, and fails later."""
    shapes: dict[str, tuple[int, ...]] = {"image": (3, 64, 64)}
    wrong = InputShapes(shapes, shapes, shapes)  # type: ignore[arg-type]
    monkeypatch.setattr(engine_build, "check_inputs", lambda *_: wrong)
    with pytest.raises(EngineBuildError, match="4 dimensions but profile 0 has 3"):
        build(small_model.read_bytes(), small_spec)


def test_wrong_channels(small_model: Path, small_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {"image": (1, 4, 64, 64)}
    monkeypatch.setattr(engine_build, "check_inputs", lambda *_: InputShapes(shapes, shapes, shapes))
    with pytest.raises(EngineBuildError, match="axis 1"):
        build(small_model.read_bytes(), small_spec)


@without_gpu
def test_the_real_runtime_without_a_gpu(rtx: ModuleType, small_model: Path, small_spec: ModelSpec) -> None:
    plan = build(small_model.read_bytes(), small_spec).plan
    for content in (plan, b"junk" * 100):
        with pytest.raises(EngineRefusedError, match="does not run the engine") as caught:
            load_engine(rtx, content, small_spec)
        assert caught.value.log
    runtime = rtx.Runtime(vendor_logger(rtx))
    with pytest.raises(BackendError, match="does not take the engine") as refused:
        answered("take the engine", lambda: runtime.deserialize_cuda_engine(plan))
    assert any("CUDA" in line for line in refused.value.log)
