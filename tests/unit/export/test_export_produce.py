"""The exported file: what it holds, what it promises, and that nothing half-done is left behind."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_checkpoint import CARD, QUICK

from export.checkpoint import load_checkpoint
from export.errors import CheckpointUnusableError, DifferentNumbersError, ExportError, OutputError
from export.files import check_target
from export.produce import STEPS, Exported, export_onnx
from export.stamp import read_stamped, stamped
from export.to_onnx import serialised, trace
from restore_sdk.backends.onnx_runtime import open_onnxruntime


def dims(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_tensors_and_axes_have_their_names(exported: Exported) -> None:
    graph = onnx.load(exported.path).graph
    assert [(value.name, dims(value)) for value in graph.input] == [("image", ["batch", 3, "height", "width"])]
    assert [(value.name, dims(value)) for value in graph.output] == [("restored", ["batch", 3, "height", "width"])]


def test_one_file_holds_everything(exported: Exported) -> None:
    assert list(exported.path.parent.iterdir()) == [exported.path]
    assert exported.size == exported.path.stat().st_size
    assert not any(tensor.external_data for tensor in onnx.load(exported.path, load_external_data=False).graph.initializer)


def test_no_local_path_or_stack_trace_remains(exported: Exported, tiny_run: Path) -> None:
    content = exported.path.read_bytes()
    places = [str(tiny_run), str(tiny_run.parent), str(Path.cwd()), str(Path.home()), str(Path(__file__).parents[3])]
    for fragment in [*places, ".py", "stack_trace", 'File "', "pkg.torch", "site-packages"]:
        assert fragment.encode() not in content, fragment


def test_no_node_carries_notes(exported: Exported) -> None:
    model = onnx.load(exported.path)
    noted = [*model.graph.node, *model.graph.value_info, *model.graph.initializer, *model.graph.input, *model.graph.output]
    assert not any(item.metadata_props or item.doc_string for item in noted)
    assert [entry.key for entry in model.metadata_props] == ["restore_sdk.spec"]
    assert {opset.domain: opset.version for opset in model.opset_import} == {"": 20}


def test_the_spec_says_what_the_card_said_and_what_was_measured(exported: Exported) -> None:
    spec = read_stamped(exported.path)[1]
    assert spec == exported.spec
    assert (spec.name, spec.method, spec.task, spec.licence) == ("tiny", "self_supervised", "denoise", "Apache-2.0")
    assert (spec.trained_on, spec.corruption) == (CARD["trained_on"], CARD["corruption"])
    assert (spec.channels, spec.scale, spec.size_multiple, spec.min_size) == (3, 1, 4, 4)
    assert (spec.receptive_radius, spec.global_ops, spec.precision) == (31, (), "fp32")
    assert (spec.source["seed"], spec.source["steps"], spec.source["opset"]) == ("7", "3", "20")
    assert spec.source["fast_tiles"].startswith("synthetic")


def test_fast_halo_and_memory_are_sensible(exported: Exported) -> None:
    spec = exported.spec
    assert spec.fast_halo is not None
    assert spec.fast_halo % 4 == 0
    assert 0 < spec.fast_halo < 32
    assert spec.fast_error is not None
    assert 0 < spec.fast_error < 0.25 / 255
    assert spec.bytes_per_pixel is not None
    assert 24 <= spec.bytes_per_pixel < 2000  # at the least the float32 image in and out


def test_exact_tiles_have_the_same_bits(exported: Exported) -> None:
    assert exported.exact_tile_error == 0.0
    assert exported.measured_radius is not None
    assert exported.measured_radius <= 31


def test_every_step_is_announced_in_order(exported: Exported, announced: list[str]) -> None:
    assert tuple(announced) == STEPS


def test_the_report_is_plain_json(exported: Exported) -> None:
    report = json.loads(json.dumps(exported.as_json(), allow_nan=False))
    assert report["sha256"] == exported.sha256
    assert report["spec"]["receptive_radius"] == 31
    assert report["verification"]["passed"] is True


def test_the_sdk_opens_it_and_agrees_with_pytorch(exported: Exported, tiny_run: Path) -> None:
    backend = open_onnxruntime(exported.path, sha256=exported.sha256, device="cpu", threads=1)
    image = np.random.default_rng(0).random((2, 3, 44, 20), np.float32)
    np.testing.assert_allclose(backend.infer(image), load_checkpoint(tiny_run).infer(image), atol=1e-5)


def test_tracing_again_gives_the_same_bytes(exported: Exported, tiny_run: Path) -> None:
    loaded = load_checkpoint(tiny_run / "model.safetensors")
    again = serialised(trace(loaded.network, loaded.channels, loaded.size_multiple))
    assert stamped(again, exported.spec) == exported.path.read_bytes()


def test_a_model_that_fails_a_check_is_not_written(tiny_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    target.write_bytes(b"what was there")
    with pytest.raises(DifferentNumbersError) as caught:
        export_onnx(tiny_run, target, dataclasses.replace(QUICK, tolerance=0.0))
    assert 0 < caught.value.worst < 1e-4
    assert target.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["no_such_folder/a.onnx", "a.bin", "folder.onnx"])
def test_an_unwritable_target_is_told_before_any_work(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(OutputError) as caught:
        export_onnx(tmp_path / "no checkpoint is read", tmp_path / name)
    assert caught.value.path == tmp_path / name


def test_a_folder_that_takes_no_file_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(self))

    (tmp_path / "a.onnx").write_bytes(b"what was there")
    check_target(tmp_path / "a.onnx")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"what was there"]
    monkeypatch.setattr(Path, "touch", refuse)  # as /proc does
    with pytest.raises(OutputError, match="no file can be made in the folder"):
        export_onnx(tmp_path / "no checkpoint is read", tmp_path / "b.onnx")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.onnx/b.onnx", r"a\.onnx is a file; name a folder"),
        ("none/b.onnx", "does not exist"),
        (300 * "a" + ".onnx", "shorter name"),
    ],
)
def test_a_target_that_cannot_be(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "a.onnx").touch()
    with pytest.raises(OutputError, match=said):
        check_target(tmp_path / name)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnusableError, match="no such file"):
        export_onnx(tmp_path / "nowhere", tmp_path / "a.onnx")


def test_a_file_that_is_no_safetensors(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(CheckpointUnusableError, match="not a safetensors file"):
        export_onnx(tmp_path, tmp_path / "a.onnx")


def test_an_onnx_file_is_no_checkpoint(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnusableError, match="is an ONNX file, which only --precision int8 takes"):
        export_onnx(exported.path, tmp_path / "a.onnx")


def test_what_is_exported_is_not_written_over(exported: Exported, tmp_path: Path) -> None:
    copy, link = tmp_path / "a.onnx", tmp_path / "b.onnx"
    copy.write_bytes(exported.path.read_bytes())
    link.symlink_to(copy)
    for target in (copy, link):
        with pytest.raises(OutputError, match="it is what is to be exported"):
            check_target(target, source=copy)
    check_target(tmp_path / "c.onnx", source=copy)


def test_a_missing_calibration_folder_is_told_before_any_work(tmp_path: Path) -> None:
    options = dataclasses.replace(QUICK, calibration=tmp_path / "nowhere")
    with pytest.raises(ExportError, match="nowhere is no folder"):
        export_onnx(tmp_path / "no checkpoint is read", tmp_path / "a.onnx", options)


def test_a_network_that_reaches_too_far_says_so_in_its_spec(tiny_run: Path, tmp_path: Path) -> None:
    """Its 31 px are beyond a limit of 16: no radius, no exact tiles, and a reason."""
    spec = export_onnx(tiny_run, tmp_path / "a.onnx", dataclasses.replace(QUICK, largest_radius=16)).spec
    assert spec.receptive_radius is None
    assert spec.global_ops == ("a reach of 16 px or more",)
    assert spec.fast_halo is not None
