"""From `export onnx --precision fp16` to a plan, on the real tensorrt_rtx."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tiny_checkpoint import QUICK

from export.checkpoint import load_checkpoint
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


@pytest.mark.parametrize("name", ["denoise", "unmask"])
def test_the_bundled_weights_in_fp16(name: str, tmp_path: Path) -> None:
    """As `export onnx --precision fp16` lowers them, without the minutes of its gate."""
    bundled = ModelSpec.from_metadata(read_onnx(ROOT / "restore_sdk" / "zoo" / f"{name}.onnx").metadata)
    network = half_wrapped(load_checkpoint(ROOT / "checkpoints" / name).network)
    path = tmp_path / f"{name}_fp16.onnx"
    graph = serialised(trace(network, bundled.channels, bundled.size_multiple))
    path.write_bytes(stamped(graph, dataclasses.replace(bundled, precision="fp16")))
    plan = export_plan(path, tmp_path / "m.plan", RTX)
    assert plan.engine.precision.share > 0.75  # of all layers, casts and comparisons among them
    assert plan.profile.as_json()["max"][2:] == [1024, 1024]
    assert plan.size < 0.8 * (ROOT / "checkpoints" / name / "model.safetensors").stat().st_size, "the weights are halved"
