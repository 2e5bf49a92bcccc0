import dataclasses
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import openvino
import psutil
import pytest
from onnx import TensorProto, helper

from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.backends.openvino import OpenVinoBackend, open_openvino
from restore_sdk.errors import (
    BackendError,
    DeviceMemoryError,
    DeviceUnavailableError,
    MissingExtraError,
    ModelDamagedError,
    ModelHashError,
    ModelSpecError,
    OptionsError,
    RestorerClosedError,
)
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

SaveModel = Callable[..., Path]


def test_report_states_what_was_set(small_model: Path) -> None:
    report = open_openvino(small_model, device="cpu", threads=2, chosen="it was measured").report()
    assert report == {
        "backend": "openvino",
        "version": openvino.__version__,
        "device": "cpu",
        "precision": "fp32",
        "arithmetic": "f32",
        "threads": 2,
        "spinning": False,
        "model": "small",
        "sha256": hashlib.sha256(small_model.read_bytes()).hexdigest(),
        "chosen": "it was measured",
    }


def test_settings_reach_the_compiled_model(small_model: Path) -> None:
    compiled = open_openvino(small_model, threads=1)._compiled
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_same_numbers_as_onnx_runtime(small_model: Path) -> None:
    batch = np.random.default_rng(3).normal(0.5, 0.5, (2, 3, 40, 28)).astype(np.float32)
    ours, theirs = (opener(small_model, device="cpu", threads=1).infer(batch) for opener in (open_openvino, open_onnxruntime))
    np.testing.assert_allclose(ours, theirs, atol=5e-6)


def test_restorer_tiles_have_the_bits_of_the_whole_image(small_model: Path) -> None:
    image = np.random.default_rng(5).random((90, 131, 3), np.float32)
    with Restorer(small_model, backend="openvino", threads=1) as restorer:
        np.testing.assert_array_equal(restorer.restore(image, tile=20), restorer.restore(image, tile=None))


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "gpu", None])
def test_only_the_cpu(small_model: Path, device: str) -> None:
    with pytest.raises(DeviceUnavailableError, match=r"available: cpu\); pass device='cpu', or backend='onnxruntime'"):
        open_openvino(small_model, device=device)


@pytest.mark.parametrize(("arguments", "says"), [({"threads": 0}, "threads=0"), ({"spinning": True}, "always sleep")])
def test_unknown_options(small_model: Path, arguments, says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        open_openvino(small_model, **arguments)


def test_runtime_never_sees_bytes_of_another_digest(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "Core", None)
    with pytest.raises(ModelHashError):
        open_openvino(small_model, sha256="0" * 64)


def test_runtime_never_opens_external_data(tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "split.onnx"
    onnx.save(onnx.load(small_model), path, save_as_external_data=True, location="split.data", size_threshold=0)
    monkeypatch.setattr(openvino, "Core", None)
    with pytest.raises(ModelDamagedError, match="single file"):
        open_openvino(path)


def add_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("noise", TensorProto.FLOAT, ["N", 3, "H", "W"]))


def fix_height(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 64


def only_identity(kind: int, shape: list[int | str]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        ends = [helper.make_tensor_value_info(name, kind, shape) for name in ("image", "restored")]
        graph = helper.make_graph([helper.make_node("Identity", ["image"], ["restored"])], "g", ends[:1], ends[1:])
        model.graph.CopyFrom(graph)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (add_output, "2 outputs, expected 1"),
        (fix_height, r"axes \[2\] fixed, expected dynamic N, H and W"),
        (only_identity(TensorProto.FLOAT16, ["N", 3, "H", "W"]), "is f16, expected f32"),
        (only_identity(TensorProto.FLOAT, ["N", 3, "H"]), r"expected \(N, C, H, W\)"),
        (only_identity(TensorProto.FLOAT, ["N", 1, "H", "W"]), "1 channels, the spec promises 3"),
    ],
)
def test_graph_that_breaks_its_spec(save_model: SaveModel, change, says: str) -> None:
    with pytest.raises(ModelSpecError, match=says):
        open_openvino(save_model(change), threads=1)


def test_spec_with_inputs_that_cannot_be_fed(save_model: SaveModel, small_spec: ModelSpec) -> None:
    with pytest.raises(ModelSpecError, match="another backend"):
        open_openvino(save_model(spec=dataclasses.replace(small_spec, inputs=("image", "mask"))), threads=1)


def test_operator_that_the_runtime_does_not_know(save_model: SaveModel) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[2].op_type = "Rectify"

    with pytest.raises(ModelDamagedError, match=r"OpenVINO refuses it .*export it again, or use onnxruntime"):
        open_openvino(save_model(rename), threads=1)


@pytest.mark.parametrize("shape", [(1, 3, 8, 6), (1, 1, 8, 8), (3, 8, 8)])
def test_batch_that_breaks_the_contract(small_model: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(BackendError, match="wanted float32 of shape"):
        open_openvino(small_model, threads=1).infer(np.zeros(shape, np.float32))


def raising(exc: Exception, spec: ModelSpec) -> OpenVinoBackend:
    def create_infer_request() -> None:
        raise exc

    return OpenVinoBackend(openvino, SimpleNamespace(create_infer_request=create_infer_request), spec, {})


@pytest.mark.parametrize("exc", [MemoryError("std::bad_alloc"), RuntimeError("[CPU] Not enough memory to allocate 9 bytes")])
def test_out_of_memory_names_the_tile(small_spec: ModelSpec, exc: Exception) -> None:
    with pytest.raises(DeviceMemoryError) as caught:
        raising(exc, small_spec).infer(np.zeros((1, 3, 8, 16), np.float32))
    assert caught.value.tile == (8, 16)
    assert caught.value.__cause__ is exc


def test_vendor_lines_are_kept_and_our_own_bugs_pass(small_spec: ModelSpec) -> None:
    batch = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(BackendError) as caught:
        raising(RuntimeError("first\nsecond"), small_spec).infer(batch)
    assert caught.value.log == ("first", "second")
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError(), small_spec).infer(batch)


def test_use_after_close(small_model: Path) -> None:
    backend = open_openvino(small_model, threads=1)
    backend.close()
    with pytest.raises(RestorerClosedError):
        backend.infer(np.zeros((1, 3, 8, 8), np.float32))


def test_missing_runtime_names_the_extra(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'restore-sdk\[openvino\]'"):
        open_openvino(small_model)


def test_images_of_ever_new_sizes_do_not_fill_the_memory(small_model: Path) -> None:
    """Unbounded, each 150 sizes bring some 80 MB of kernels; bounded, ever less."""
    backend, process, resident = open_openvino(small_model, threads=1), psutil.Process(), [0]
    for width in (12, 16, 20):
        for blocks in range(2, 152):
            backend.infer(np.zeros((1, 3, 4 * blocks, width), np.float32))
        resident.append(process.memory_info().rss)
    assert resident[3] - resident[2] < 45_000_000
