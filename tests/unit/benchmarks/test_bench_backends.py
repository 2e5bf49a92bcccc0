"""benchmarks/backends.py: who takes part, what is left out and why, and the figures. No time is judged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import backends
from benchmarks.arguments import Findings
from benchmarks.comparison import Bench
from benchmarks.machine import PeakProbe
from benchmarks.models import find_onnx, read_spec
from benchmarks.peers.eager_loop import EagerLoop
from benchmarks.rounds import Timing
from benchmarks.schema import TimingRow, read_result
from restore_sdk.errors import DeviceUnavailableError, OptionsError

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")


@pytest.fixture
def bench() -> Iterator[Bench]:
    with PeakProbe(1) as probe:
        yield Bench("denoise", find_onnx("denoise"), 1, 1, probe, Findings())


def test_end_to_end_on_the_cpu(tmp_path: Path) -> None:
    words = ["--device", "cpu", "--sides", "40", "--rounds", "1", "--threads", "1", "--no-gates"]
    assert backends.main([*words, "--json", str(tmp_path / "b.json")]) == 0
    result = read_result(tmp_path / "b.json")
    variants = [row.variant for row in result.rows if isinstance(row, TimingRow)]
    assert variants[:3] == [backends.EAGER, "onnxruntime, fp32", "onnxruntime, int8"]
    figures = {figure.name: figure.value for figure in result.figures}
    assert figures["cpu_onnxruntime_fp32_largest_difference_40"] <= 1  # one step: PyTorch sums in another order
    assert 1 < figures["cpu_onnxruntime_int8_largest_difference_40"] < 40  # equal would be no INT8 at all
    assert figures["cpu_host_40_onnxruntime_fp32_speed"] > 0


def test_what_cannot_be_opened_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    wishes = (("onnxruntime", "fp32"), ("onnxruntime", "fp4"), ("nothing", "fp32"), ("torch", "fp16"))
    monkeypatch.setitem(backends.WISHES, "cpu", wishes)  # type: ignore[misc]
    with backends.competitors("cpu", bench) as runners:
        assert list(runners.ours) == ["onnxruntime, fp32", "torch, fp16"]
    first, second = bench.findings.notes
    assert first.startswith("cpu: onnxruntime, fp4 was left out: ")
    assert "backend='nothing'" in second


def test_models_that_cannot_be_compared(bench: Bench, tmp_path: Path) -> None:
    backends.checked_twin(bench)
    bench.path = find_onnx("denoise-int8")
    with pytest.raises(OptionsError, match="expected an fp32 model, and this is int8"):
        backends.checked_twin(bench)
    copy = tmp_path / "mine.onnx"
    copy.write_bytes(find_onnx("denoise").read_bytes())
    bench.model, bench.path = str(copy), copy
    assert backends._sibling(bench, "int8") == str(tmp_path / "mine-int8.onnx")


@pytest.mark.parametrize("sides", ["8", "32,", ""])
def test_sides_that_cannot_be(sides: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        backends.main(["--sides", sides])
    assert ended.value.code == 2
    assert "--sides" in capsys.readouterr().err


def test_results_need_a_file_that_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        backends.main(["--json", str(tmp_path)])
    assert "is a folder" in capsys.readouterr().err


def test_pictures_of_a_model_that_fills_in_have_lost_pixels() -> None:
    filling = read_spec(find_onnx("unmask"))
    assert (backends.picture(64, filling) == 0).all(2).mean() == pytest.approx(0.5, abs=0.05)


def test_streams_are_timed_beside_the_loop(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "STREAMED", 24)
    monkeypatch.setattr(backends, "FRAMES", 3)
    monkeypatch.setitem(backends.WISHES, "cpu", (("onnxruntime", "fp32"),))  # type: ignore[misc]
    with backends.competitors("cpu", bench) as runners:
        backends.compare_streams(runners, bench)
    names = {figure.name for figure in bench.findings.figures}
    assert names >= {"cpu_onnxruntime_fp32_loop_over_stream", "cpu_onnxruntime_fp32_pictures_per_second"}


def test_speeds_by_hand() -> None:
    """Ratios within rounds, 4 and 1, of which the median is 2.5."""
    findings = Findings()
    timings = {backends.EAGER: Timing([4.0, 2.0], []), "onnxruntime, fp32": Timing([1.0, 2.0], [])}
    backends.add_speeds("cpu_host_8", timings, findings)
    assert [(figure.name, figure.value) for figure in findings.figures] == [("cpu_host_8_onnxruntime_fp32_speed", 2.5)]


@without_gpu
def test_a_gpu_that_is_not_there() -> None:
    findings = Findings()
    assert backends.devices("auto", findings) == ["cpu"]
    assert findings.notes[0].startswith("no GPU was measured: ")
    with pytest.raises(DeviceUnavailableError, match="pass --device cpu"):
        backends.devices("cuda", findings)


def test_the_eager_loop_pads_and_rounds() -> None:
    """A network that halves: odd sides are mirrored up to the multiple and cut again; 255 / 2 rounds to even."""
    halved = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        halved.weight.copy_(torch.eye(3)[:, :, None, None] / 2)
    image = np.random.default_rng(0).integers(0, 256, (13, 11, 3), np.uint8)
    restored = EagerLoop(halved, "cpu").restore(image)
    assert restored.shape == image.shape
    assert np.abs(restored - image / 2).max() <= 0.5 + 1e-4
