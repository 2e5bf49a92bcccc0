"""python -m export tensorrt, on the real tensorrt_rtx: plan and sidecar, FP16 counted, cancelled builds, exit codes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

import export.tensorrt_command
from export.checkpoint import load_checkpoint
from export.errors import OutputError
from export.produce import Exported
from export.program import app
from export.stamp import read_stamped, stamped
from export.to_onnx import serialised, trace
from export.to_tensorrt import ExportedPlan, ProfileSizes, export_plan
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_plan import sidecar_path
from restore_sdk.cli.console import build_shown
from restore_sdk.errors import EngineBuildError, OptionsError
from restore_sdk.spec import ModelSpec

ZOO = Path(__file__).parents[3] / "restore_sdk" / "zoo"
RTX = EngineOptions(api="tensorrt_rtx", optimization_level=0)
SIZES = ProfileSizes(minimum=(16, 16), optimum=(64, 96), maximum=(128, 128), batch=2)
FLAGS = ("--api", "tensorrt_rtx", "--min", "16x16", "--opt", "64x96", "--max", "128x128", "--opt-level", "0")


@pytest.fixture(autouse=True)
def _tensorrt_rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="engines are built by tensorrt-rtx, which is not installed", exc_type=ImportError)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class HalfInside(nn.Module):
    """float32 in and out, FP16 between."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        restored: torch.Tensor = self.network(image.half()).float()
        return restored


@pytest.fixture(scope="session")
def half_model(tiny_run: Path, exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network with FP16 inside, stamped as such."""
    checkpoint = load_checkpoint(tiny_run)
    graph = serialised(trace(HalfInside(checkpoint.network), checkpoint.channels, checkpoint.size_multiple))
    path = tmp_path_factory.mktemp("half") / "half.onnx"
    path.write_bytes(stamped(graph, dataclasses.replace(exported.spec, precision="fp16")))
    return path


def test_plan_and_sidecar(exported: Exported, tmp_path: Path) -> None:
    plan = export_plan(exported.path, tmp_path / "m.plan", RTX, SIZES)
    content = plan.path.read_bytes()
    assert content[:4] == b"vtrt"
    beside = json.loads(sidecar_path(plan.path).read_text(encoding="utf-8"))
    assert ModelSpec.from_json(json.dumps(beside["spec"])) == dataclasses.replace(exported.spec, sha256="")
    facts = beside["build"]
    assert facts["plan_sha256"] == hashlib.sha256(content).hexdigest() == plan.sha256
    assert facts["onnx_sha256"] == hashlib.sha256(exported.path.read_bytes()).hexdigest()
    assert (facts["api"], facts["version"].count(".")) == ("tensorrt_rtx", 3)
    assert facts["profile"] == {"min": [1, 3, 16, 16], "opt": [2, 3, 64, 96], "max": [2, 3, 128, 128]}
    assert facts["options"] == RTX.as_json()
    assert facts["fp16_layers"] == {"half": 0, "total": plan.engine.precision.total, "share": 0.0, "source": "network"}
    assert set(tmp_path.iterdir()) == {plan.path, sidecar_path(plan.path)}


def some_alike(plans: Sequence[ExportedPlan]) -> bool:
    """Whether two have the same bytes, to the last symbol."""
    return len({plan.sha256 for plan in plans}) < len(plans)


def built(model: Path, folder: Path, *, most: int) -> list[ExportedPlan]:
    """Three plans of one model; more, at most `most`, as long as no two have the same bytes."""
    plans: list[ExportedPlan] = []
    while len(plans) < 3 or (len(plans) < most and not some_alike(plans)):
        plans.append(export_plan(model, folder / f"{len(plans)}.plan", RTX))
    return plans


def unnumbered(plan: Path) -> bytes:
    """The compiler numbers its own symbols (mye10200), in about one build of ten a few of them otherwise."""
    return re.sub(rb"mye\d+", b"mye", plan.read_bytes())


def test_twice_the_same_plan(exported: Exported, tmp_path: Path) -> None:
    first, second = (export_plan(exported.path, tmp_path / f"{name}.plan", RTX, SIZES) for name in "ab")
    assert first.size == second.size
    assert unnumbered(first.path) == unnumbered(second.path)
    same = [{**plan.build_facts(), "plan_sha256": ""} for plan in (first, second)]
    assert same[0] == same[1]


def test_fp16_layers_are_counted(half_model: Path, tmp_path: Path) -> None:
    precision = export_plan(half_model, tmp_path / "half.plan", RTX, SIZES).engine.precision
    assert precision.total > 8
    assert precision.share == 1.0
    again = export_plan(half_model, tmp_path / "again.plan", RTX, SIZES)
    assert unnumbered(again.path) == unnumbered(tmp_path / "half.plan")


def test_fp16_in_name_only_is_an_error_and_nothing_is_written(exported: Exported, tmp_path: Path) -> None:
    content, spec = read_stamped(exported.path)
    liar = tmp_path / "liar.onnx"
    liar.write_bytes(stamped(content, dataclasses.replace(spec, precision="fp16")))
    with pytest.raises(EngineBuildError, match="computes in FP16"):
        export_plan(liar, tmp_path / "liar.plan", RTX, SIZES)
    assert set(tmp_path.iterdir()) == {liar}


@pytest.mark.parametrize("model", sorted(ZOO.glob("*.onnx")), ids=lambda path: path.name)
def test_bundled_models_build(model: Path, tmp_path: Path) -> None:
    is_int8 = read_stamped(model)[1].precision == "int8"  # whose builds are numbered otherwise almost every time
    plans = built(model, tmp_path, most=3 if is_int8 else 9)  # of the others one in ten: nine that differ are a chance of 1e-7
    plan = plans[0]
    assert plan.size == plan.path.stat().st_size > 10_000
    assert plan.profile.as_json()["max"][2:] == [1024, 1024]
    assert (plan.engine.precision.half > 0) == (plan.spec.precision == "fp16")
    assert len({unnumbered(plan.path) for plan in plans}) == 1
    assert some_alike(plans) or is_int8


def test_an_older_plan_survives_a_failure(exported: Exported, tmp_path: Path) -> None:
    target = tmp_path / "m.plan"
    target.write_bytes(b"older")
    with pytest.raises(OptionsError):
        export_plan(exported.path, target, RTX, ProfileSizes(optimum=(64, 65)))
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_leaves_neither_file(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        export_plan(exported.path, tmp_path / "m.plan", RTX, SIZES)
    assert list(tmp_path.iterdir()) == []


def test_command_says_what_it_made(half_model: Path, tmp_path: Path) -> None:
    result = run("tensorrt", half_model, "-o", tmp_path / "half.plan", *FLAGS, "--batch", "2", "--workspace", "64")
    assert result.exit_code == 0, result.stderr
    for said in ("built with   tensorrt_rtx", "1x3x16x16 to 2x3x128x128, tuned for 2x3x64x96", "(100%; source: the network"):
        assert said in result.stdout
    assert result.stderr == f"building an engine of {half_model} ...\n"  # else there is silence for minutes


def test_command_in_json(exported: Exported, tmp_path: Path) -> None:
    result = run("tensorrt", exported.path, "-o", tmp_path / "m.plan", *FLAGS, "--compute-capability", "8.6, 8.9,8.6", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["command"], report["exit_code"]) == ("tensorrt", 0)
    assert report["build"]["options"]["compute_capabilities"] == ["8.6", "8.9"]
    assert report["sidecar"] == str(tmp_path / "m.plan.json")


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX does")
def test_ctrl_c_stops_the_build(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pressed twice, from within the build, as the terminal would send it to the main thread."""
    seen: list[float] = []

    def press(fraction: float, phase: str) -> None:
        seen.append(fraction)
        if len(seen) in (3, 4):
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)  # for the main thread to see it before the small build is over

    shown = type("Shown", (), {"__enter__": lambda self: press, "__exit__": lambda *_: None})
    monkeypatch.setattr(export.tensorrt_command, "build_shown", shown)
    result = run("tensorrt", exported.path, "-o", tmp_path / "m.plan", *FLAGS, "--json")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert json.loads(result.stdout)["error"]["type"] == "KeyboardInterrupt"
    assert list(tmp_path.iterdir()) == []
    assert seen[-1] < 1


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (("--opt", "600x600", "--max", "512x512"), 2, "opt"),
        (("--opt", "512"), 2, "HEIGHTxWIDTH"),
        (("--min", "6\uff14x64"), 2, "HEIGHTxWIDTH"),  # a digit of another script
        (("--opt", "510x512"), 2, "for example 512x512"),
        (("--batch", "0"), 2, "batch=0"),
        (("--opt-level", "7"), 2, "from 0 to 5"),
        (("--hardware-compatible",), 2, "--compute-capability"),
        (("--compute-capability", "9.0"), 2, "expected some of"),
        (("--api", "cuda"), 2, "tensorrt_rtx"),
        (("-o", "m.onnx"), 3, ".plan"),
        (("-o", "nowhere/m.plan"), 3, "does not exist"),
    ],
)
def test_exit_codes(
    flags: tuple[str, ...], code: int, says: str, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("tensorrt", exported.path, "-o", "m.plan", "--api", "tensorrt_rtx", *flags)
    assert (result.exit_code, result.stdout) == (code, "")
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_junk_is_refused_before_tensorrt_sees_it(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"not an onnx file")
    result = run("tensorrt", tmp_path / "junk.onnx", "-o", tmp_path / "m.plan", "--api", "tensorrt_rtx")
    assert result.exit_code == 4
    assert "not a usable ONNX model" in result.stderr


def test_the_bar_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with build_shown() as on_progress:
        assert on_progress is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with build_shown() as on_progress:
        assert on_progress is not None
        on_progress(0.5, "timing [tactics]")
    out, err = capsys.readouterr()
    assert out == ""
    assert "50%" in err
    assert "timing [tactics]" in err


def test_the_installed_api_is_the_default(monkeypatch: pytest.MonkeyPatch, exported: Exported, tmp_path: Path) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(export.tensorrt_command, "installed_api", lambda: seen.append(1) or "tensorrt_rtx")
    assert run("tensorrt", exported.path, "-o", tmp_path / "m.plan", *FLAGS[2:]).exit_code == 0
    assert seen == [1]
