"""From `export onnx --precision fp16` to a plan, on the real tensorrt_rtx."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest
import torch
from tiny_checkpoint import QUICK

from export.precision import half_wrapped
from export.produce import export_onnx
from export.stamp import stamped
from export.to_onnx import serialised, trace
from export.to_tensorrt import ProfileSizes, export_plan
from export.tolerance import Precision
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_plan import read_plan
from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.errors import ModelHashError
from restore_sdk.spec import ModelSpec
from training.networks.table import build_network

ROOT = Path(__file__).parents[3]
RTX = EngineOptions(api="tensorrt_rtx", optimization_level=0)
SIZES = ProfileSizes(minimum=(16, 16), optimum=(64, 96), maximum=(128, 128))


@pytest.fixture(autouse=True)
def _tensorrt_rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="engines are built by tensorrt-rtx, which is not installed", exc_type=ImportError)


def test_an_fp16_model_becomes_a_plan_of_half_layers(tiny_run: Path, tmp_path: Path) -> None:
    model = export_onnx(tiny_run, tmp_path / "tiny_fp16.onnx", dataclasses.replace(QUICK, precision=Precision.FP16))
    plan = export_plan(model.path, tmp_path / "tiny.plan", RTX, SIZES)
    assert plan.spec.precision == "fp16"
    assert plan.engine.precision.share > 0.9
    assert plan.path.stat().st_size > 10_000
    read = read_plan(plan.path)
    assert (read.sha256, read.api, read.version) == (plan.sha256, "tensorrt_rtx", plan.engine.version)
    assert read.spec.to_json() == plan.spec.to_json()
    assert read.onnx_sha256 == plan.onnx_sha256
    plan.path.write_bytes(plan.path.read_bytes()[:-1])
    with pytest.raises(ModelHashError):
        read_plan(plan.path)


def test_the_bundled_architecture_in_fp16(tmp_path: Path) -> None:
    """The bundled weights are there in FP32 only, so these are random: what TensorRT reads is the same graph."""
    bundled = ModelSpec.from_metadata(read_onnx(ROOT / "restore_sdk" / "zoo" / "denoise.onnx").metadata)
    torch.manual_seed(0)
    config = tomllib.loads((ROOT / "configs" / "denoise.toml").read_text(encoding="utf-8"))
    network = build_network(config["network"]).eval().requires_grad_(False)
    path = tmp_path / "denoise_fp16.onnx"
    graph = serialised(trace(half_wrapped(network), bundled.channels, bundled.size_multiple))
    path.write_bytes(stamped(graph, dataclasses.replace(bundled, precision="fp16")))
    plan = export_plan(path, tmp_path / "m.plan", RTX)
    assert plan.engine.precision.share > 0.9
    assert plan.profile.as_json()["max"][2:] == [1024, 1024]
