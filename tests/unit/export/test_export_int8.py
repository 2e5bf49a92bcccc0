"""python -m export onnx --precision int8: the quantised graph, who runs it, its measured loss, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from tiny_checkpoint import QUICK
from typer.testing import CliRunner

from export.calibration import texture
from export.errors import ExportError, Int8LossError, OutputError
from export.int8 import Loss, check_loss, losses, quantised
from export.int8_images import LOSSES, MEASURED_SIGMAS, Damage, Pair, int8_images
from export.produce import Exported, ExportOptions
from export.program import app
from export.stamp import read_stamped, stamped
from export.to_int8 import ExportedInt8, export_int8
from export.tolerance import Precision, difference
from restore_sdk.backends.engine_build import build_engine
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_profile import profile_for
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.backends.opening import open_backend
from restore_sdk.errors import OptionsError
from restore_sdk.spec import ModelSpec

SPEC = ModelSpec(name="a", method="b", task="denoise", size_multiple=4)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of 300 x 296 pixels, one too small, and a file that is no image."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(4):
        planes = texture(3, 300, 296, sigma=0, seed=number)[0].clip(0, 1)
        cv2.imwrite(str(folder / f"{number}.png"), (planes.transpose(1, 2, 0) * 255).round().astype(np.uint8))
    cv2.imwrite(str(folder / "4.png"), np.zeros((40, 300, 3), np.uint8))
    (folder / "readme.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def options(photos: Path) -> ExportOptions:
    return dataclasses.replace(QUICK, calibration=photos, memory_sides=(128,))


@pytest.fixture(scope="module")
def int8(exported: Exported, options: ExportOptions, tmp_path_factory: pytest.TempPathFactory) -> ExportedInt8:
    """The tiny network, which is untrained: what it loses says nothing."""
    return export_int8(exported.path, tmp_path_factory.mktemp("int8") / "tiny.onnx", options, most_loss_db=30)


def test_graph_is_symmetric_qdq_around_convolutions_only(int8: ExportedInt8) -> None:
    graph = onnx.load(int8.path).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert {values[node.input[2]].dtype for node in pairs} == {np.dtype(np.int8)}
    assert not any(values[node.input[2]].any() for node in pairs)
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    for node in convolutions:
        weight = makers[node.input[1]]
        assert weight.op_type == "DequantizeLinear"
        assert len(values[weight.input[1]]) == len(values[weight.input[0]])  # a scale for each output channel
        assert makers[node.input[0]].op_type == "DequantizeLinear"
        assert all(values[name].dtype == np.float32 for name in node.input[2:])  # the bias
    assert {node.op_type for node in graph.node} >= {"Conv", "Add"}


def test_file_carries_nothing_but_the_graph_and_the_spec(int8: ExportedInt8) -> None:
    model = onnx.load(int8.path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.domain for entry in model.opset_import] == [""]
    assert [entry.key for entry in model.metadata_props] == ["restore_sdk.spec"]
    assert str(Path.home()) not in str(model)


def test_spec_says_int8_and_what_it_costs(int8: ExportedInt8, exported: Exported, photos: Path) -> None:
    _, spec = read_stamped(int8.path)
    assert (spec, spec.sha256) == (int8.spec, int8.sha256)
    assert (spec.precision, spec.receptive_radius) == ("int8", exported.spec.receptive_radius)
    assert [(row["set"], row["sigma"]) for row in spec.quality] == [(photos.name, sigma) for sigma in MEASURED_SIGMAS]
    assert json.loads(spec.source["int8"])["loss_db"] == max(row["loss_db"] for row in spec.quality) == round(int8.worst.db, 2)
    assert int8.images == f"2 images of {photos.name}, measured on 2 others"
    assert int8.exact_tile_error == 0


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_cpu_runtimes_agree_on_it(int8: ExportedInt8, exported: Exported, backend: str) -> None:
    batch = texture(3, 64, 96, sigma=25, seed=9)
    with_int8, with_fp32 = (
        open_backend(path, backend=name, device="cpu", threads=1)
        for path, name in ((int8.path, backend), (exported.path, "onnxruntime"))
    )
    restored = with_int8.infer(batch)
    assert with_int8.report()["precision"] == "int8"
    assert 30 < difference(restored, with_fp32.infer(batch))[1] < 100  # dB; equal would be no INT8 at all
    with_int8.close()
    with_fp32.close()


def test_tensorrt_rtx_builds_it(int8: ExportedInt8) -> None:
    pytest.importorskip("tensorrt_rtx", reason="engines are built by tensorrt-rtx, which is not installed", exc_type=ImportError)
    content, spec = read_stamped(int8.path)
    profile = profile_for(spec, minimum=(16, 16), optimum=(64, 64), maximum=(128, 128))
    built = build_engine(content, spec, profile, EngineOptions(api="tensorrt_rtx", optimization_level=0))
    assert len(built.plan) > 10_000


def test_equal_input_gives_an_equal_file(exported: Exported, photos: Path) -> None:
    content, spec = read_stamped(exported.path)
    batches = int8_images(photos, spec).calibrating
    assert quantised(content, batches) == quantised(content, batches)


def test_quantiser_leaves_logging_alone(exported: Exported, photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content, spec = read_stamped(exported.path)
    before = list(logging.getLogger().handlers)
    quantised(content, int8_images(photos, spec).calibrating[:1])
    assert logging.getLogger().handlers == before
    assert capfd.readouterr().out == ""


def test_too_much_loss_is_not_written(exported: Exported, options: ExportOptions, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    target.write_bytes(b"earlier")
    with pytest.raises(Int8LossError, match=r"INT8 loses .* dB at sigma .*, expected at most -20; .*--max-loss-db"):
        export_int8(exported.path, target, options, most_loss_db=-20)
    assert target.read_bytes() == b"earlier"


def test_loss_is_checked_at_every_level() -> None:
    fine, bad = Loss(Damage(15), fp32=32.0, int8=31.5, apart=44.0), Loss(Damage(50), fp32=27.0, int8=25.5, apart=40.0)
    check_loss([fine], 0.5)
    with pytest.raises(Int8LossError) as caught:
        check_loss([fine, bad], 1.0)
    assert (caught.value.loss, caught.value.most, caught.value.damage) == (1.5, 1.0, "sigma 50")
    with pytest.raises(Int8LossError):
        check_loss([dataclasses.replace(fine, int8=float("nan"))], 1.0)


def test_losses_by_hand() -> None:
    clean = np.zeros((1, 3, 4, 4), np.float32)
    fp32, int8 = (FunctionBackend(SPEC, lambda batch, added=added: batch + np.float32(added)) for added in (0.01, 0.1))
    (first, second) = losses(fp32, int8, [Pair(clean, clean, Damage(sigma)) for sigma in (50, 15, 50)])
    assert (first.damage, second.damage) == (Damage(15), Damage(50))
    assert (second.fp32, second.int8) == pytest.approx((40, 20), abs=1e-3)  # -20 log10 of 0.01 and 0.1
    assert second.db == pytest.approx(20, abs=1e-3)
    assert second.apart == pytest.approx(-20 * np.log10(0.09), abs=1e-3)


def test_no_image_serves_both_purposes(photos: Path) -> None:
    images = int8_images(photos, SPEC)
    shapes = {batch.shape for batch in (*images.calibrating, *(pair.given for pair in images.held_out))}
    assert shapes == {(1, 3, 256, 256)}
    assert len(images.calibrating) == 2
    assert [pair.damage.sigma for pair in images.held_out] == [*MEASURED_SIGMAS] * 2
    np.testing.assert_array_equal(images.held_out[0].clean, images.held_out[2].clean)
    for pair in images.held_out:  # the first image to set the ranges has no noise
        assert difference(pair.clean, images.calibrating[0])[1] < 30


def test_super_resolution_is_measured_without_noise(photos: Path) -> None:
    images = int8_images(photos, dataclasses.replace(SPEC, task="super_resolve", scale=2))
    pair = images.held_out[0]
    assert (pair.given.shape, pair.clean.shape, pair.damage) == ((1, 3, 148, 148), (1, 3, 296, 296), Damage())
    np.testing.assert_allclose(pair.given[0, 0, 0, 0], pair.clean[0, 0, :2, :2].mean(), rtol=1e-6)


def test_networks_that_fill_are_measured_on_lost_pixels(photos: Path) -> None:
    """Shares of 50, 90 and 95 %, each pixel lost in all channels; what is left is the image without noise."""
    fills = dataclasses.replace(SPEC, task="inpaint", source={"network": json.dumps({"kind": "filling_unet", "fill": 0.5})})
    images = int8_images(photos, fills)
    assert [pair.damage for pair in images.held_out] == [*LOSSES] * 2
    for pair in images.held_out:
        lost = (pair.given == 0.5).all(1)
        assert lost.mean() == pytest.approx(pair.damage.lost, abs=0.01)
        kept = ~lost[:, None].repeat(3, 1)
        np.testing.assert_array_equal(pair.given[kept], pair.clean[kept])
    assert [(batch == 0.5).mean().round(1) for batch in images.calibrating] == [0.5, 0.9]


def test_equal_answers_are_no_number_in_json() -> None:
    told = Loss(Damage(15), fp32=30.0, int8=30.001, apart=np.inf).as_json()
    assert told == {"sigma": 15, "fp32": 30.0, "int8": 30.0, "against_fp32": None, "loss_db": 0.0}
    assert json.dumps(told, allow_nan=False).count("-0.0") == 0


def test_too_few_images_are_told_before_the_export(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((80, 80, 3), np.uint8))
    lonely = dataclasses.replace(QUICK, calibration=tmp_path)
    with pytest.raises(ExportError, match="holds 1 readable image of 64 pixels a side, expected 2"):
        export_int8(tmp_path / "no checkpoint is read", tmp_path / "m.onnx", lonely)


def test_tiles_say_what_they_were_measured_on(int8: ExportedInt8, photos: Path) -> None:
    assert int8.spec.source["fast_tiles"] == f"4 images of {photos.name}, sigma 0, 25 and 50"


def test_damage_is_named() -> None:
    assert (str(Damage(15)), Damage(15).as_json()) == ("sigma 15", {"sigma": 15})
    assert (str(LOSSES[1]), LOSSES[1].as_json()) == ("90 % lost pixels", {"lost": 0.9})


def test_refusals(exported: Exported, int8: ExportedInt8, options: ExportOptions, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    with pytest.raises(OptionsError, match="calibration=None, expected a folder"):
        export_int8(exported.path, target, QUICK)
    with pytest.raises(ExportError, match="is in int8, and only FP32"):
        export_int8(int8.path, target, options)
    with pytest.raises(OptionsError, match="'int8' all but convolutions"):
        export_int8(exported.path, target, dataclasses.replace(options, precision=Precision.FP16, keep_fp32=("head",)))
    with pytest.raises(OutputError, match="it is what is to be exported"):
        export_int8(exported.path, exported.path, options)
    with pytest.raises(ExportError, match="holds 0 readable images of 64 pixels"):
        export_int8(exported.path, target, dataclasses.replace(options, calibration=tmp_path))
    content, spec = read_stamped(exported.path)
    identity = onnx.load_model_from_string(content)
    identity.graph.ClearField("node")
    identity.graph.node.append(onnx.helper.make_node("Identity", ["image"], ["restored"]))
    with pytest.raises(ExportError, match="no convolution to quantise"):
        quantised(stamped(identity.SerializeToString(), spec), [])
    assert not target.exists()


def test_command_prints_the_loss_and_says_it_in_json(exported: Exported, photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    flags = ("--precision", "int8", "--calibration", photos, "--max-loss-db", 30, "--threads", 1, "--name", "small")
    arguments = [str(item) for item in ("onnx", exported.path, "-o", target, *flags)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("export.to_int8.bytes_per_pixel", lambda *_: 90.0)
        told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
        shown = CliRunner().invoke(app, arguments)
    assert told["spec"]["name"] == "small"
    assert told["int8"]["levels"][0]["sigma"] == 15
    assert shown.exit_code == 0
    assert f"INT8 loses at most {told['int8']['loss_db']:.2f} dB; calibrated on 2 images of {photos.name}" in shown.stdout


def test_command_keeps_an_onnx_files_opset(exported: Exported, photos: Path, tmp_path: Path) -> None:
    flags = ("--precision", "int8", "--calibration", photos, "--opset", 18)
    arguments = [str(item) for item in ("onnx", exported.path, "-o", tmp_path / "m.onnx", *flags, "--json")]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 2
    assert "nothing with an .onnx file, which keeps its own" in json.loads(told.stdout)["error"]["message"]


def test_command_without_images_is_wrong_usage(exported: Exported, tmp_path: Path) -> None:
    arguments = ["onnx", str(exported.path), "-o", str(tmp_path / "m.onnx"), "--precision", "int8"]
    assert CliRunner().invoke(app, arguments).exit_code == 2
