"""--precision fp16 from end to end: what is written, what is not, and what runs it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import half_networks
import numpy as np
import onnx
import pytest
from tiny_checkpoint import QUICK
from typer.testing import CliRunner, Result

from export.checkpoint import load_checkpoint
from export.console import print_exported
from export.errors import DifferentNumbersError, ExportError, HalfPrecisionError
from export.keep_fp32 import in_half
from export.produce import Exported, ExportOptions, export_onnx
from export.program import app
from export.stamp import read_stamped, stamped
from export.to_onnx import serialised, trace
from export.tolerance import Precision
from export.verify import compare, verify
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.errors import OptionsError
from training.networks import table

FP16 = dataclasses.replace(QUICK, precision=Precision.FP16)
FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


@pytest.fixture(scope="module")
def in_fp16(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_onnx(tiny_run, tmp_path_factory.mktemp("models") / "tiny_fp16.onnx", FP16)


@pytest.fixture
def loud_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(table.NETWORKS, "loud", half_networks.Loud)  # type: ignore[misc]
    return half_networks.save_half(tmp_path / "loud", half_networks.Loud(), "loud")


def weights(path: Path) -> dict[str, onnx.TensorProto]:
    """The floating-point initialisers."""
    return {item.name: item for item in onnx.load(path).graph.initializer if item.data_type in (FLOAT, FLOAT16)}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_input_and_output_are_float32_and_the_weights_half(in_fp16: Exported, exported: Exported) -> None:
    graph = onnx.load(in_fp16.path).graph
    assert [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)] == [FLOAT, FLOAT]
    half, full = weights(in_fp16.path), weights(exported.path)
    assert {item.data_type for item in half.values()} == {FLOAT16}
    assert 2 * sum(len(item.raw_data) for item in half.values()) == sum(len(item.raw_data) for item in full.values())
    assert in_fp16.size < 0.6 * exported.size  # the graph itself stays as long as it was
    assert [node.op_type for node in graph.node].count("Cast") == 2


def test_the_spec_states_the_precision_and_its_cost(in_fp16: Exported) -> None:
    spec = read_stamped(in_fp16.path)[1]
    assert spec == in_fp16.spec
    assert spec.precision == "fp16"
    assert (spec.receptive_radius, spec.size_multiple) == (31, 4)
    cost = json.loads(spec.source["fp16"])
    assert cost["keep_fp32"] == []
    assert cost["psnr"] >= 60
    assert 0 < cost["max_abs"] <= 1e-2
    assert in_fp16.as_json()["fp16"] == cost


def test_an_fp32_file_states_no_cost(exported: Exported) -> None:
    assert "fp16" not in exported.spec.source
    assert exported.as_json()["fp16"] is None


def test_it_equals_its_checkpoint_within_what_half_allows(in_fp16: Exported, exported: Exported, tiny_run: Path) -> None:
    for against in (tiny_run, exported.path):
        report = verify(in_fp16.path, against, threads=1)
        assert report.passed
        assert (report.tolerance, report.least_psnr) == (1e-2, 60.0)
        assert report.worst.max_abs > 1e-5  # it is not the float32 one
    assert verify(exported.path, in_fp16.path, threads=1).least_psnr == 60.0
    assert not verify(in_fp16.path, tiny_run, tolerance=1e-6, threads=1).passed


def test_verify_says_both_limits(in_fp16: Exported, tiny_run: Path) -> None:
    assert "equal within 0.01 and 60 dB" in run("verify", in_fp16.path, "--against", tiny_run, "--threads", 1).stdout


def test_the_table_says_what_was_kept_and_what_it_cost(in_fp16: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_fp16.gate is not None
    print_exported(dataclasses.replace(in_fp16, gate=dataclasses.replace(in_fp16.gate, keep=("head",), psnr=71.25)))
    rows = {
        line.split("│")[1].strip(): line.split("│")[2].strip() for line in capsys.readouterr().out.splitlines() if "│" in line
    }
    assert rows["precision"] == "fp16"
    assert rows["kept in FP32"] == "head"
    assert rows["FP16 against FP32"].startswith("71.2 dB")


def test_too_few_decibels_fail_though_no_difference_is_large() -> None:
    """An offset of 1/512 everywhere: 20 * log10(512) = 54.2 dB."""
    report = compare(lambda x: np.rint(x) + np.float32(1 / 512), np.rint, 1, 4, 1e-2, least_psnr=60.0)
    assert report.worst.max_abs < 1e-2
    assert not report.passed
    with pytest.raises(DifferentNumbersError, match=r"54\.2 dB") as caught:
        report.check()
    assert caught.value.least_psnr == 60.0


def test_the_sdk_runs_it(in_fp16: Exported, tiny_run: Path) -> None:
    backend = open_onnxruntime(in_fp16.path, sha256=in_fp16.sha256, device="cpu", threads=1)
    image = np.random.default_rng(0).random((2, 3, 44, 20), np.float32)
    restored = backend.infer(image)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, load_checkpoint(tiny_run).infer(image), atol=2e-3)
    assert backend.report()["precision"] == "fp16"


def test_lowering_and_tracing_again_give_the_same_bytes(in_fp16: Exported, tiny_run: Path) -> None:
    network, gate = in_half(load_checkpoint(tiny_run), (), None)
    again = stamped(serialised(trace(network, 3, 4)), in_fp16.spec)
    assert again == in_fp16.path.read_bytes()
    assert json.dumps(gate.as_json(), sort_keys=True) == in_fp16.spec.source["fp16"]


def test_an_overflow_is_not_written(loud_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    target.write_bytes(b"what was there")
    with pytest.raises(HalfPrecisionError) as caught:
        export_onnx(loud_run, target, FP16)
    assert caught.value.layers == ("loud",)
    assert target.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loud", "out.onnx"]


def test_auto_writes_it_with_just_that_layer_kept(loud_run: Path, tmp_path: Path) -> None:
    done = export_onnx(loud_run, tmp_path / "out.onnx", dataclasses.replace(FP16, keep_fp32="auto"))
    assert done.gate is not None
    assert done.gate.keep == ("loud",)
    assert json.loads(done.spec.source["fp16"])["keep_fp32"] == ["loud"]
    kinds = {name.removeprefix("body."): item.data_type for name, item in weights(done.path).items() if name.endswith("weight")}
    assert kinds == {"head.weight": FLOAT16, "loud.weight": FLOAT, "tail.weight": FLOAT16}
    assert verify(done.path, loud_run, threads=1).passed


def test_the_methods_card_may_name_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the network does not have is the card's fault, not that of an option."""
    monkeypatch.setitem(table.NETWORKS, "loud", half_networks.Loud)  # type: ignore[misc]
    named = half_networks.save_half(tmp_path / "named", half_networks.Loud(), "loud", keep_fp32=["nowhere"])
    with pytest.raises(ExportError, match=r"card has keep_fp32=\['nowhere'\], expected the path of a module .* which has head"):
        export_onnx(named, tmp_path / "a.onnx", FP16)
    wrong = half_networks.save_half(tmp_path / "wrong", half_networks.Loud(), "loud", keep_fp32="loud")
    with pytest.raises(ExportError, match="a list of module paths"):
        export_onnx(wrong, tmp_path / "a.onnx", FP16)
    kept = half_networks.save_half(tmp_path / "kept", half_networks.Loud(), "loud", keep_fp32=["tail"])
    done = export_onnx(kept, tmp_path / "a.onnx", dataclasses.replace(FP16, keep_fp32="auto"))
    assert json.loads(done.spec.source["fp16"])["keep_fp32"] == ["loud", "tail"]


def test_keeping_every_layer_leaves_nothing_to_lower(tiny_run: Path, tmp_path: Path) -> None:
    every = tuple(name for name, _ in load_checkpoint(tiny_run).network.named_children())
    with pytest.raises(OptionsError, match="a layer with weights that is left in FP16; else pass --precision fp32"):
        export_onnx(tiny_run, tmp_path / "a.onnx", dataclasses.replace(FP16, keep_fp32=every))


def test_keeping_layers_makes_no_sense_in_fp32() -> None:
    with pytest.raises(OptionsError, match="keeps every layer"):
        ExportOptions(keep_fp32=("head",))


def test_the_program_names_the_layer(loud_run: Path, tmp_path: Path) -> None:
    result = run("onnx", loud_run, "-o", tmp_path / "a.onnx", "--precision", "fp16", "--threads", 1, "--json")
    assert result.exit_code == 4
    error = json.loads(result.stdout)["error"]
    assert error["type"] == "HalfPrecisionError"
    assert "--keep-fp32 loud" in error["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--precision", "int4"),
        ("--keep-fp32", "head"),
        ("--precision", "fp16", "--keep-fp32", "head,"),
        ("--precision", "fp16", "--keep-fp32", "nowhere"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], tiny_run: Path, tmp_path: Path) -> None:
    assert run("onnx", tiny_run, "-o", tmp_path / "a.onnx", *arguments).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_tensorrt_parses_it(in_fp16: Exported) -> None:
    tensorrt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    assert parser.parse(in_fp16.path.read_bytes()), [parser.get_error(index).desc() for index in range(parser.num_errors)]
    convolutions = [
        layer for layer in map(network.get_layer, range(network.num_layers)) if layer.type == tensorrt.LayerType.CONVOLUTION
    ]
    assert convolutions
    assert {layer.get_output(0).dtype for layer in convolutions} == {tensorrt.DataType.HALF}
    assert {network.get_input(0).dtype, network.get_output(0).dtype} == {tensorrt.DataType.FLOAT}
