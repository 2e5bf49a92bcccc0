"""Engines built by the real tensorrt_rtx, which needs no GPU to build. Nothing is run: that needs one."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from restore_sdk.backends import engine_build
from restore_sdk.backends.engine_build import BuiltEngine, build_engine
from restore_sdk.backends.engine_log import ROUTER, BuilderLog, vendor_logger
from restore_sdk.backends.engine_network import InputShapes, check_inputs, set_profile
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_profile import EngineProfile, profile_for
from restore_sdk.backends.wishes import BuildCancelledError
from restore_sdk.cuda.faults import translated
from restore_sdk.errors import DeviceUnavailableError, EngineBuildError, ModelSpecError, OptionsError
from restore_sdk.spec import ModelSpec

Change = Callable[[onnx.ModelProto], None]
SMALL = {"minimum": (16, 16), "optimum": (64, 64), "maximum": (128, 128)}
RTX = EngineOptions(api="tensorrt_rtx", optimization_level=0)


@pytest.fixture(scope="module", autouse=True)
def _tensorrt_rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="engines are built by tensorrt-rtx, which is not installed", exc_type=ImportError)


def build(content: bytes, spec: ModelSpec, options: EngineOptions = RTX, **others: Any) -> BuiltEngine:
    return build_engine(content, spec, profile_for(spec, **SMALL), options, **others)


@pytest.fixture
def changed(save_model: Callable[..., Path]) -> Callable[[Change], bytes]:
    return lambda change: save_model(change).read_bytes()


def replace_tail(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    """`node` reads "noise" and writes "odd", which is subtracted in its place."""
    nodes = list(model.graph.node)
    nodes[-1].input[1] = node.output[0]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:-1], node, nodes[-1]])


def test_fp32_and_twice_the_same(small_model: Path, small_spec: ModelSpec) -> None:
    fractions: list[float] = []
    first = build(small_model.read_bytes(), small_spec, on_progress=lambda fraction, phase: fractions.append(fraction))
    assert first.plan[:4] == b"vtrt"
    assert (first.api, first.version.split(".")[0]) == ("tensorrt_rtx", "1")
    assert (first.precision.half, first.precision.source) == (0, "network")
    assert first.precision.total >= 8  # five convolutions, two ReLUs, the sum, the difference
    assert first.tf32 is True
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    again = build(small_model.read_bytes(), small_spec).plan
    # The compiler numbers its own symbols, in about one build of ten a few of them otherwise
    assert re.sub(rb"mye\d+", b"mye", again) == re.sub(rb"mye\d+", b"mye", first.plan)


def test_compute_capabilities_and_workspace_reach_the_builder(small_model: Path, small_spec: ModelSpec) -> None:
    options = EngineOptions(api="tensorrt_rtx", compute_capabilities=("8.6",), workspace_mib=64, optimization_level=0)
    assert build(small_model.read_bytes(), small_spec, options).plan != build(small_model.read_bytes(), small_spec).plan


def test_an_unknown_compute_capability_names_the_known_ones(small_model: Path, small_spec: ModelSpec) -> None:
    options = EngineOptions(api="tensorrt_rtx", compute_capabilities=("9.0",))
    with pytest.raises(OptionsError, match=r"compute-capability='9\.0', expected some of: .*8\.6.*12\.0"):
        build(small_model.read_bytes(), small_spec, options)


def test_cancelled(small_model: Path, small_spec: ModelSpec) -> None:
    steps: list[str] = []
    with pytest.raises(BuildCancelledError, match="cancelled"):
        build(
            small_model.read_bytes(),
            small_spec,
            on_progress=lambda fraction, phase: steps.append(phase),
            cancelled=lambda: len(steps) > 5,
        )
    assert 5 < len(steps) < 30


def test_an_error_of_the_callback_comes_out_after_the_build(small_model: Path, small_spec: ModelSpec) -> None:
    """As it is: on a GPU, a RuntimeError from inside is the driver's."""

    def broken(fraction: float, phase: str) -> None:
        raise RuntimeError("in a callback")

    def within() -> AbstractContextManager[None]:
        return translated("running TensorRT", (RuntimeError,))

    with pytest.raises(RuntimeError, match=r"^in a callback$"):
        build(small_model.read_bytes(), small_spec, on_progress=broken, within=within)


def test_junk(small_spec: ModelSpec) -> None:
    with pytest.raises(EngineBuildError, match="MODEL_DESERIALIZE_FAILED") as caught:
        build(b"junk" * 50, small_spec)
    assert (caught.value.node, caught.value.operator) == (None, None)
    assert any("Failed to parse the ONNX model" in line for line in caught.value.log)


def test_custom_operator_is_named(changed: Callable[[Change], bytes], small_spec: ModelSpec) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid("acme", 1))
        replace_tail(model, helper.make_node("MyOp", ["noise"], ["odd"], name="acme0", domain="acme"))

    with pytest.raises(EngineBuildError, match="at node 'acme0' \\(operator MyOp\\)") as caught:
        build(changed(change), small_spec)
    assert (caught.value.node, caught.value.operator) == ("acme0", "MyOp")
    assert caught.value.log


def test_unsupported_operator_is_named(changed: Callable[[Change], bytes], small_spec: ModelSpec) -> None:
    def change(model: onnx.ModelProto) -> None:
        replace_tail(model, helper.make_node("Det", ["noise"], ["odd"], name="det0"))

    with pytest.raises(EngineBuildError) as caught:
        build(changed(change), small_spec)
    assert (caught.value.node, caught.value.operator) == ("det0", "Det")


def test_mixed_types_are_refused_because_the_network_is_strongly_typed(
    changed: Callable[[Change], bytes], small_spec: ModelSpec
) -> None:
    def change(model: onnx.ModelProto) -> None:
        replace_tail(model, helper.make_node("Cast", ["noise"], ["odd"], name="half0", to=TensorProto.FLOAT16))

    with pytest.raises(EngineBuildError, match=r"Float and Half|same input types") as caught:
        build(changed(change), small_spec)
    assert caught.value.operator == "Sub"


def test_a_multiple_that_the_spec_understates_fails_with_the_builders_lines(small_model: Path, small_spec: ModelSpec) -> None:
    liar = dataclasses.replace(small_spec, size_multiple=1)
    profile = profile_for(liar, minimum=(18, 18), optimum=(66, 66), maximum=(126, 126))
    with pytest.raises(EngineBuildError, match="TensorRT gave up") as caught:
        build_engine(small_model.read_bytes(), liar, profile, RTX)
    assert any("violate shape constraints" in line for line in caught.value.log)
    assert caught.value.operator == "ELEMENTWISE"


def test_channels_of_the_spec_against_those_of_the_graph(small_model: Path, small_spec: ModelSpec) -> None:
    with pytest.raises(ModelSpecError, match="'image' has 3 channels, the spec promises 4"):
        build(small_model.read_bytes(), dataclasses.replace(small_spec, channels=4))


def test_channels_of_the_profile_against_those_of_the_spec(small_model: Path, small_spec: ModelSpec) -> None:
    four = (1, 4, 64, 64)
    with pytest.raises(OptionsError, match="expected 3 channels"):
        build_engine(small_model.read_bytes(), small_spec, EngineProfile(minimum=four, optimum=four, maximum=four), RTX)


def test_fp16_in_the_spec_and_fp32_in_the_graph(small_model: Path, small_spec: ModelSpec) -> None:
    with pytest.raises(EngineBuildError, match=r"none of \d+ layers computes in FP16 \(source: network\).*--precision fp16"):
        build(small_model.read_bytes(), dataclasses.replace(small_spec, precision="fp16"))


def test_tensorrt_without_a_driver_is_not_started(
    small_model: Path, small_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_build, "load_api", lambda name: SimpleNamespace())
    monkeypatch.setattr(engine_build, "driver_works", lambda: False)
    with pytest.raises(DeviceUnavailableError, match="tensorrt_rtx"):
        build(small_model.read_bytes(), small_spec, EngineOptions(api="tensorrt"))


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"photo": (-1, 3, -1, -1)}, "inputs \\('photo',\\)"),
        ({"image": (-1, 3, -1)}, "expected \\(N, C, H, W\\)"),
        ({"image": (-1, -1, -1, -1)}, "with fixed C"),
    ],
)
def test_inputs_that_are_not_what_the_spec_promises(inputs: dict[str, tuple[int, ...]], says: str, small_spec: ModelSpec) -> None:
    with pytest.raises(ModelSpecError, match=says):
        check_inputs(inputs, small_spec, profile_for(small_spec))


def test_a_fixed_axis_needs_a_profile_that_keeps_to_it(small_spec: ModelSpec) -> None:
    inputs = {"image": (1, 3, 64, -1)}
    with pytest.raises(OptionsError, match="height=\\(16, 64, 128\\), expected 64 three times"):
        check_inputs(inputs, small_spec, profile_for(small_spec, **SMALL))
    fixed = profile_for(small_spec, minimum=(64, 16), optimum=(64, 64), maximum=(64, 128))
    assert check_inputs(inputs, small_spec, fixed).maximum == {"image": (1, 3, 64, 128)}


def test_a_mask_gets_the_channels_of_its_own(small_spec: ModelSpec) -> None:
    spec = dataclasses.replace(small_spec, inputs=("image", "mask"))
    shapes = check_inputs({"image": (-1, 3, -1, -1), "mask": (-1, 1, -1, -1)}, spec, profile_for(spec, **SMALL))
    assert shapes.optimum == {"image": (1, 3, 64, 64), "mask": (1, 1, 64, 64)}


def test_minus_one_from_tensorrt_is_an_error() -> None:
    """opt > max, past our own check, straight to the real builder."""
    rtx = sys.modules["tensorrt_rtx"]
    log = BuilderLog()
    builder = rtx.Builder(vendor_logger(rtx))
    low, high = {"image": (1, 3, 64, 64)}, {"image": (1, 3, 128, 128)}
    with ROUTER.writing_to(log), pytest.raises(EngineBuildError, match="refuses the optimisation profile") as caught:
        set_profile(builder, builder.create_builder_config(), InputShapes(low, high, low), log)
    assert any("MIN<=OPT<=MAX" in line for line in caught.value.log)
    beyond = {"image": (1 << 31, 3, 128, 128)}  # more than TensorRT counts: one of its calls that raise
    with ROUTER.writing_to(log), pytest.raises(EngineBuildError, match=r"refuses the optimisation profile \(.*inconsistent"):
        set_profile(builder, builder.create_builder_config(), InputShapes(low, beyond, beyond), log)


def test_a_largest_shape_that_cannot_run_is_an_error(small_model: Path, small_spec: ModelSpec) -> None:
    """The builder only warns, and gives a plan that fails at the first such image."""
    profile = profile_for(small_spec, maximum=(1 << 20, 1 << 20))
    with pytest.raises(EngineBuildError, match=r"profile's max shape cannot run; pass a smaller --max or --batch") as caught:
        build_engine(small_model.read_bytes(), small_spec, profile, RTX)
    assert any("kMAX" in line for line in caught.value.log)


def test_each_build_keeps_its_own_lines_while_another_builder_lives(small_spec: ModelSpec, small_model: Path) -> None:
    """TensorRT has one logger for a process and ignores a second one."""
    rtx = sys.modules["tensorrt_rtx"]
    other = rtx.Builder(vendor_logger(rtx))
    with pytest.raises(EngineBuildError) as caught:
        build(b"junk" * 50, small_spec)
    assert any("Failed to parse" in line for line in caught.value.log)
    assert build(small_model.read_bytes(), small_spec).warnings == ()
    del other


def gives_none(logger: Any) -> None:
    """How a factory says no."""


def gives_a_type_error(logger: Any) -> None:
    raise TypeError("factory function returned nullptr")


@pytest.mark.parametrize("builder", [gives_none, gives_a_type_error])
def test_no_builder_is_an_error(builder: Callable[[Any], None], small_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control flow only: what TensorRT does where its builder cannot be made."""
    fake = SimpleNamespace(**{**vars(sys.modules["tensorrt_rtx"]), "Builder": builder})
    monkeypatch.setattr(engine_build, "load_api", lambda name: fake)
    with pytest.raises(EngineBuildError, match="no builder"):
        build(b"", small_spec)
