"""python -m export torch: the program, its spec, its digest, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_checkpoint import QUICK
from torch import Tensor, nn
from typer.testing import CliRunner

from export.calibration import texture
from export.checkpoint import load_checkpoint
from export.errors import ExportError, OutputError
from export.half_gate import Gate
from export.produce import Exported
from export.program import app
from export.to_torch import STEPS, export_torch, serialised, trace_program
from export.tolerance import Precision
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.backends.torch_program import open_torch_program
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

TAIL = "network.body.tail.weight"
SPEC = ModelSpec(name="a", method="b", task="c")


@pytest.fixture(scope="module")
def steps() -> list[str]:
    return []


@pytest.fixture(scope="module")
def program(tiny_run: Path, steps: list[str], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_torch(tiny_run, tmp_path_factory.mktemp("programs") / "tiny.pt2", QUICK, steps.append)


@pytest.fixture(scope="module")
def half(tiny_run: Path, exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """In FP16, `tail` kept, on the word of a gate; the real one is tested where it belongs."""
    spec = dataclasses.replace(exported.spec, precision="fp16")
    gate = Gate(psnr=70.0, max_abs=1e-3, keep=("tail",), overflowing=(), enterers=(), images="none")
    options = dataclasses.replace(QUICK, precision=Precision.FP16)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("export.to_torch.export_onnx", lambda *_: dataclasses.replace(exported, spec=spec, gate=gate))
        patched.setattr("export.to_torch.bytes_per_pixel", lambda *_: 90.0)
        return export_torch(tiny_run, tmp_path_factory.mktemp("halves") / "tiny.pt2", options)


def test_steps_are_announced(program: Exported, steps: list[str]) -> None:
    assert tuple(steps) == STEPS


def test_two_files_and_a_digest_that_sha256sum_reads(program: Exported) -> None:
    beside = program.path.with_name("tiny.pt2.sha256")
    assert sorted(program.path.parent.iterdir()) == [program.path, beside]
    assert beside.read_text() == f"{program.sha256}  tiny.pt2\n"
    assert hashlib.sha256(program.path.read_bytes()).hexdigest() == program.sha256


def test_spec_is_that_of_the_onnx_file(program: Exported, exported: Exported) -> None:
    opened = open_torch_program(program.path, device="cpu").spec
    assert opened == program.spec
    same = [field.name for field in dataclasses.fields(opened) if field.name not in ("sha256", "source", "bytes_per_pixel")]
    assert {name: getattr(opened, name) for name in same} == {name: getattr(exported.spec, name) for name in same}
    assert (opened.bytes_per_pixel or 0) > 0
    assert {**opened.source, "opset": "20"} == exported.spec.source


def test_numbers_are_those_of_the_onnx_file(program: Exported, exported: Exported) -> None:
    assert program.verification.passed
    batch = texture(3, 60, 44, sigma=25, seed=3)
    ours = open_torch_program(program.path, device="cpu").infer(batch)
    theirs = open_onnxruntime(exported.path, device="cpu", threads=1).infer(batch)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert program.exact_tile_error is not None
    assert program.exact_tile_error <= 1e-5


def test_half_precision(half: Exported, tiny_run: Path) -> None:
    assert half.spec.precision == "fp16"
    with zipfile.ZipFile(half.path) as archive:
        weights = json.loads(archive.read("archive/data/weights/model_weights_config.json"))["config"]
    kept = {name for name, how in weights.items() if how["tensor_meta"]["dtype"] == weights[TAIL]["tensor_meta"]["dtype"]}
    assert kept == {TAIL}
    batch = texture(3, 60, 44, sigma=25, seed=3)
    ours = open_torch_program(half.path, device="cpu").infer(batch)
    whole = load_checkpoint(tiny_run).infer(batch)
    assert ours.dtype == np.float32
    assert 0 < np.abs(ours - whole).max() < 1e-2
    with Restorer(half.path, device="cpu") as restorer:
        assert restorer.report()["precision"] == "fp16"


def test_nothing_of_this_machine_is_inside(program: Exported, half: Exported, tiny_run: Path) -> None:
    for content in (program.path.read_bytes(), half.path.read_bytes()):
        for place in (tiny_run, Path.cwd(), Path.home(), Path(__file__).parents[3]):
            assert str(place).encode() not in content
        assert b"stack_trace" not in content


def test_same_bytes_again(tiny_run: Path) -> None:
    network = load_checkpoint(tiny_run).network
    assert serialised(trace_program(network, 3, 4), SPEC) == serialised(trace_program(network, 3, 4), SPEC)


class Stuck(nn.Module):
    """Works for one height only."""

    def forward(self, image: Tensor) -> Tensor:
        return image + torch.zeros(1, 1, 24, 1)


def test_a_network_tied_to_one_size(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="remove what ties the network to one size"):
        trace_program(Stuck(), 3, 4)


def test_the_smallest_tile_of_a_network_without_stride() -> None:
    module = trace_program(nn.Conv2d(3, 3, 3, padding=1).eval(), 3, 1).module()
    for shape in ((1, 3, 1, 1), (3, 3, 5, 1), (2, 3, 2, 7)):
        assert module(torch.zeros(shape)).shape == shape


@pytest.mark.parametrize("name", ["m.onnx", "no such folder/m.pt2"])
def test_a_target_that_cannot_be(tiny_run: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError):
        export_torch(tiny_run, tmp_path / name, QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_digest_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "m.pt2.sha256").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        export_torch(tmp_path / "no checkpoint is read", tmp_path / "m.pt2", QUICK)


def test_a_failing_check_leaves_the_old_files(tiny_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.pt2"
    target.write_bytes(b"old")
    result = CliRunner().invoke(app, ["torch", str(tiny_run), "-o", str(target), "--tolerance", "0", "--threads", "1", "--json"])
    assert result.exit_code == 4
    assert json.loads(result.stdout)["error"]["type"] == "DifferentNumbersError"
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_command_says_what_was_written(
    program: Exported, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def export(checkpoint: Path, target: Path, options: object, announce: object) -> Exported:
        asked.append((checkpoint, target, options))
        return program

    monkeypatch.setattr("export.torch_command.export_torch", export)
    flags = ["--precision", "fp16", "--keep-fp32", "head,tail", "--name", "n", "--threads", "1"]
    result = CliRunner().invoke(app, ["torch", str(tiny_run), "-o", str(tmp_path / "m.pt2"), *flags])
    assert result.exit_code == 0
    assert program.sha256 in result.stdout
    ((checkpoint, target, options),) = asked
    assert (checkpoint, target) == (tiny_run, tmp_path / "m.pt2")
    assert (options.precision, options.keep_fp32, options.name) == ("fp16", ("head", "tail"), "n")


def test_verify_takes_programs_on_either_side(program: Exported, exported: Exported, tiny_run: Path, tmp_path: Path) -> None:
    for model, against in ((program.path, tiny_run), (program.path, exported.path), (exported.path, program.path)):
        done = CliRunner().invoke(app, ["verify", str(model), "--against", str(against), "--threads", "1", "--json"])
        assert (done.exit_code, json.loads(done.stdout)["passed"]) == (0, True)
    alone = tmp_path / "alone.pt2"
    alone.write_bytes(program.path.read_bytes())
    assert CliRunner().invoke(app, ["verify", str(alone), "--against", str(tiny_run)]).exit_code == 4  # no digest beside it


def test_both_exports_have_the_same_flags() -> None:
    def flags(command: str) -> set[str]:
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout
        return set(re.findall(r"--[a-z][\w-]+", shown))

    assert flags("onnx") - flags("torch") == {"--opset", "--max-loss-db"}
    assert flags("torch") <= flags("onnx")
    assert (
        "int8"
        not in CliRunner().invoke(app, ["torch", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout.split("--calib")[0]
    )
