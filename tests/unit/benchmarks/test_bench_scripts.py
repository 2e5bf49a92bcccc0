"""The scripts from command line to JSON, on a small network and small images. No time is judged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks import memory, quality
from benchmarks.arguments import Findings, exit_with
from benchmarks.comparison import Bench
from benchmarks.machine import PeakProbe
from benchmarks.models import find_onnx, model_facts
from benchmarks.processes import run_child
from benchmarks.schema import QualityRow, TimingRow, read_result
from restore_sdk.errors import OptionsError
from restore_sdk.options import TileOptions
from restore_sdk.restorer import Restorer
from restore_sdk.spec import METADATA_KEY, ModelSpec


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two Kodak images, a PolyU pair and one RNI15 image, all made up."""
    random = np.random.default_rng(0)
    for name in (
        "kodak24/kodim01.png",
        "kodak24/kodim03.png",
        "polyu_real_noise/a_real.JPG",
        "polyu_real_noise/a_mean.JPG",
        "rni15/Dog.png",
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), random.integers(0, 256, (40, 52, 3), np.uint8))
    return tmp_path / "data"


def run_quality(model: Path, data: Path, out: Path, *words: str) -> int:
    fixed = [
        "--model",
        str(model),
        "--data",
        str(data),
        "--threads",
        "1",
        "--json",
        str(out),
        "--strips",
        str(out.parent / "strips"),
    ]
    return quality.main([*fixed, "--sigmas", "5,25", *words])


def test_quality_end_to_end(small_model: Path, data: Path, tmp_path: Path) -> None:
    assert (
        run_quality(
            small_model, data, tmp_path / "q.json", "--baselines", "--baseline-limit", "1", "--supervised", str(small_model)
        )
        == 0
    )
    result = read_result(tmp_path / "q.json")
    rows = {(row.set, row.sigma, row.method): row for row in result.rows if isinstance(row, QualityRow)}
    ours, supervised = rows["kodak24", 25.0, "restore-sdk"], rows["kodak24", 25.0, "same network, clean targets"]
    assert ours.images == 2
    assert ours.psnr == supervised.psnr, "the same network must get the same noise"
    assert rows["kodak24[1]", 25.0, "opencv nl-means"].images == 1
    assert rows["kodak24", 25.0, "noisy input"].psnr == pytest.approx(20.17, abs=0.2)
    assert ("polyu", None, "restore-sdk") in rows
    strip = cv2.imread(str(tmp_path / "strips" / "rni15" / "Dog.png"))
    assert strip is not None
    assert strip.shape == (40, 104, 3)
    assert result.model.name == "small"
    assert str(tmp_path) not in json.dumps(result.model_dump(exclude={"notes"}))


def test_quality_scores_are_those_of_the_restorer(small_model: Path, data: Path, tmp_path: Path) -> None:
    run_quality(small_model, data, tmp_path / "q.json", "--sets", "kodak24", "--limit", "1")
    (row,) = [
        row
        for row in read_result(tmp_path / "q.json").rows
        if isinstance(row, QualityRow) and row.method == "restore-sdk" and row.sigma == 25
    ]
    clean = quality.as_float(quality.read_pixels(data / "kodak24" / "kodim01.png"))
    with Restorer(small_model, threads=1) as restorer:
        restored = restorer.restore(quality.add_noise(clean, 25, 0))
    assert row.psnr == pytest.approx(quality.psnr(restored, clean), abs=1e-3)
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_quality_takes_a_checkpoint(data: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from training.engine.checkpoint import save_network
    from training.networks.unet import ResidualUNet

    torch.manual_seed(0)
    arguments = {"widths": [8, 8], "blocks": [1, 1], "unshuffle": 2}
    card = {"name": "pilot", "method": "self_supervised", "network": {"kind": "residual_unet", **arguments}}
    save_network(tmp_path / "model.safetensors", ResidualUNet(**arguments), card)
    assert run_quality(tmp_path / "model.safetensors", data, tmp_path / "q.json", "--sets", "kodak24") == 0
    assert read_result(tmp_path / "q.json").model.name == "pilot (checkpoint)"
    with pytest.raises(OptionsError, match="this is a checkpoint"):
        find_onnx(str(tmp_path / "model.safetensors"))


def test_model_facts_by_hand(small_model: Path) -> None:
    """FLOPs per pixel: head and tail at half resolution, the others at a quarter."""
    per_pixel = 2 * (12 * 16 * 9 + 16 * 12 * 9) / 4 + 2 * (16 * 16 * 4 + 16 * 16 * 9 + 16 * 64) / 16
    facts = model_facts(small_model)
    assert facts.gflop_per_megapixel == pytest.approx(per_pixel / 1000, abs=0.005)
    assert facts.parameters == 12 * 16 * 9 * 2 + 16 * 16 * 4 + 16 * 16 * 9 + 16 * 64
    assert (facts.receptive_radius, facts.size_multiple, facts.bytes_per_pixel) == (11, 4, 64.0)


def test_memory_end_to_end(small_model: Path, tmp_path: Path) -> None:
    assert (
        memory.main(["--model", str(small_model), "--threads", "1", "--megapixels", "1", "--json", str(tmp_path / "m.json")]) == 0
    )
    result = read_result(tmp_path / "m.json")
    figures = {figure.name: figure.value for figure in result.figures}
    assert figures["peak_over_bound_1mp"] > 0
    assert figures["largest_tile_1mp"] == pytest.approx(1.0, rel=0.01)


def test_start_up_child_reports_no_torch(small_model: Path) -> None:
    start = run_child("start_up.py", small_model, 1)
    assert start["torch"] is False
    assert min(start[name] for name in ("import_s", "load_s", "first_s", "ready_cpu_s")) > 0


def test_twin_needs_a_spec_that_describes_the_network(small_model: Path) -> None:
    pytest.importorskip("torch")
    from benchmarks.twin import torch_twin

    with pytest.raises(ValueError, match=r"source\['network'\]"):
        torch_twin(small_model)


@pytest.mark.parametrize("named_alike", [True, False])
def test_twin_takes_the_weights_whose_names_match(tmp_path: Path, small_spec: ModelSpec, named_alike: bool) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.twin import torch_twin
    from training.networks.unet import ResidualUNet

    arguments = {"widths": [8, 8], "blocks": [1, 1], "unshuffle": 2}
    weights = {name: value.numpy() for name, value in ResidualUNet(**arguments).state_dict().items()}
    prefix = "" if named_alike else "renamed."
    graph = onnx.GraphProto(initializer=[numpy_helper.from_array(value, prefix + name) for name, value in weights.items()])
    model = onnx.ModelProto(ir_version=10, graph=graph)
    described = dataclasses.replace(small_spec, source={"network": json.dumps(arguments)})
    onnx.helper.set_model_props(model, {METADATA_KEY: described.to_json()})
    onnx.save(model, tmp_path / "twin.onnx")
    network, same = torch_twin(tmp_path / "twin.onnx")
    assert same is named_alike
    found = network.state_dict()
    assert all(np.array_equal(found[name], value) for name, value in weights.items()) is named_alike
    assert not network.training
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_overhead_is_measured_against_the_bare_session(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from benchmarks import latency

    for name, value in {"MEGAPIXEL": 128, "SMALL_ROUNDS": 3, "IDENTITY_ROUNDS": 3}.items():
        monkeypatch.setattr(latency, name, value)
    findings = Findings()
    with PeakProbe(1) as probe, Restorer(small_model, threads=1, tile=TileOptions(core=64)) as restorer:
        bench = Bench(str(small_model), small_model, 1, 1, probe, findings)
        latency.compare_restore(bench, restorer)
        latency.compare_identity(bench)
    cases = {(row.case.rpartition(" ")[2], row.variant) for row in findings.rows if isinstance(row, TimingRow)}
    assert {("128x128", "bare session"), ("128x128", "restore()"), ("64x64", "copy")} <= cases
    assert ("128x128", "restore(tile=None)") in cases, "a tiled restore() is shown beside an untiled one"
    assert {"restore_over_bare_1mp", "restore_added_64", "restore_added_identity_64"} <= {
        figure.name for figure in findings.figures
    }


def test_an_unknown_model_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        exit_with(lambda: memory.main(["--model", "no-such-model"]))
    assert stopped.value.code == 2
    assert "no-such-model" in capsys.readouterr().err
