import dataclasses
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from restore_sdk.backends.onnx_library import vendor_errors
from restore_sdk.backends.onnx_runtime import OnnxRuntimeBackend, open_onnxruntime
from restore_sdk.backends.opening import open_backend
from restore_sdk.errors import (
    BackendError,
    DeviceMemoryError,
    MissingExtraError,
    ModelDamagedError,
    ModelHashError,
    ModelSpecError,
    OptionsError,
    RestorerClosedError,
)
from restore_sdk.spec import ModelSpec

SaveModel = Callable[..., Path]


def test_report_states_what_was_set(small_model: Path) -> None:
    report = open_onnxruntime(small_model, device="cpu", threads=2).report()
    assert report == {
        "backend": "onnxruntime",
        "version": onnxruntime.__version__,
        "device": "cpu",
        "providers": ["CPUExecutionProvider"],
        "precision": "fp32",
        "threads": 2,
        "spinning": False,
        "model": "small",
        "sha256": hashlib.sha256(small_model.read_bytes()).hexdigest(),
    }


def test_digest_reaches_the_spec(small_model: Path) -> None:
    assert open_onnxruntime(small_model, threads=1).spec.sha256 == hashlib.sha256(small_model.read_bytes()).hexdigest()


def test_report_is_a_copy(small_model: Path) -> None:
    backend = open_onnxruntime(small_model, threads=1)
    backend.report()["backend"] = "changed"  # type: ignore[index]
    assert backend.report()["backend"] == "onnxruntime"


@pytest.mark.parametrize(("spinning", "value"), [(False, "0"), (True, "1")])
def test_session_settings(small_model: Path, spinning: bool, value: str) -> None:
    options = open_onnxruntime(small_model, threads=1, spinning=spinning)._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == value
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == value
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert (options.intra_op_num_threads, options.log_severity_level) == (1, 3)


def test_runtime_never_sees_bytes_of_another_digest(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    with pytest.raises(ModelHashError, match="install restore-sdk again"):
        open_onnxruntime(small_model, sha256="0" * 64)


def test_runtime_never_opens_external_data(tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "split.onnx"
    onnx.save(onnx.load(small_model), path, save_as_external_data=True, location="split.data", size_threshold=0)
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    with pytest.raises(ModelDamagedError, match="single file"):
        open_onnxruntime(path)


def test_no_spec_and_newer_schema(save_model: SaveModel) -> None:
    with pytest.raises(ModelSpecError, match="no metadata key"):
        open_onnxruntime(save_model(spec=None))
    with pytest.raises(ModelSpecError, match="upgrade"):
        open_onnxruntime(save_model(spec='{"schema": 2}'))


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = model.graph.node[0].input[0] = model.graph.node[-1].input[0] = "x"


def add_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 1, "H", "W"]))


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
        (rename_input, r"inputs \('x',\), its spec promises \('image',\)"),
        (add_input, r"inputs \('image', 'mask'\), its spec promises"),
        (add_output, "2 outputs, expected 1"),
        (fix_height, r"axes \[2\] fixed, expected dynamic N, H and W"),
        (only_identity(TensorProto.FLOAT16, ["N", 3, "H", "W"]), r"tensor\(float16\), expected tensor\(float\)"),
        (only_identity(TensorProto.FLOAT, ["N", 3, "H"]), r"expected \(N, C, H, W\)"),
        (only_identity(TensorProto.FLOAT, ["N", 1, "H", "W"]), "1 channels, the spec promises 3"),
    ],
)
def test_graph_that_breaks_its_spec(save_model: SaveModel, change, says: str) -> None:
    with pytest.raises(ModelSpecError, match=says):
        open_onnxruntime(save_model(change), threads=1)


def test_spec_with_inputs_that_cannot_be_fed(save_model: SaveModel, small_spec: ModelSpec) -> None:
    with pytest.raises(ModelSpecError, match="another backend"):
        open_onnxruntime(save_model(add_input, dataclasses.replace(small_spec, inputs=("image", "mask"))), threads=1)


def test_graph_that_the_runtime_refuses(save_model: SaveModel) -> None:
    def dangle(model: onnx.ModelProto) -> None:
        model.graph.node[0].input[0] = "nowhere"

    with pytest.raises((ModelDamagedError, BackendError), match="nowhere"):
        open_onnxruntime(save_model(dangle), threads=1)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 3, 8, 6), np.float32),
        np.zeros((1, 1, 8, 8), np.float32),
        np.zeros((3, 8, 8), np.float32),
        np.zeros((1, 3, 8, 8), np.float64),
    ],
)
def test_batch_that_breaks_the_contract(small_model: Path, batch: np.ndarray) -> None:
    with pytest.raises(BackendError, match=r"wanted float32 of shape \(N, 3, H, W\) with H and W multiples of 4"):
        open_onnxruntime(small_model, threads=1).infer(batch)


def raising(exc: Exception, spec: ModelSpec) -> OnnxRuntimeBackend:
    def run(*_: object) -> None:
        raise exc

    node = SimpleNamespace(name="image")
    session = SimpleNamespace(run=run, get_inputs=lambda: [node], get_outputs=lambda: [node])
    return OnnxRuntimeBackend(session, spec, {}, vendor_errors(onnxruntime))


STATE = onnxruntime.capi.onnxruntime_pybind11_state


@pytest.mark.parametrize(
    "exc",
    [
        STATE.RuntimeException("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 9"),
        STATE.Fail("CUDA failure 2: out of memory"),
        RuntimeError("std::bad_alloc"),
        MemoryError("Unable to allocate 192. GiB"),
    ],
)
def test_out_of_memory_names_the_tile(small_spec: ModelSpec, exc: Exception) -> None:
    with pytest.raises(DeviceMemoryError, match="pass a smaller tile") as caught:
        raising(exc, small_spec).infer(np.zeros((1, 3, 8, 16), np.float32))
    assert caught.value.tile == (8, 16)
    assert caught.value.__cause__ is exc


def test_vendor_lines_are_kept(small_spec: ModelSpec) -> None:
    with pytest.raises(BackendError) as caught:
        raising(STATE.Fail("first\nsecond"), small_spec).infer(np.zeros((1, 3, 8, 8), np.float32))
    assert caught.value.log == ("first", "second")
    assert not isinstance(caught.value, DeviceMemoryError)


def test_our_own_bugs_pass_through(small_spec: ModelSpec) -> None:
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError(), small_spec).infer(np.zeros((1, 3, 8, 8), np.float32))


def test_use_after_close(small_model: Path) -> None:
    backend = open_onnxruntime(small_model, threads=1)
    backend.close()
    with pytest.raises(RestorerClosedError):
        backend.infer(np.zeros((1, 3, 8, 8), np.float32))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"device": "gpu"}, "device='gpu', expected 'auto', 'cpu', 'cuda' or 'cuda:N'"),
        ({"device": None}, "device=None"),
        ({"threads": 0}, "threads=0, expected an integer from 1 to 1024"),
        ({"threads": True}, "threads=True"),
        ({"threads": 1.5}, r"threads=1\.5"),
        ({"backend": "tensorflow"}, "backend='tensorflow', expected 'auto' or one of: onnxruntime"),
    ],
)
def test_unknown_options(small_model: Path, arguments, says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        open_backend(small_model, **arguments)


def test_missing_runtime_names_the_extra(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'restore-sdk\[cpu\]'"):
        open_onnxruntime(small_model)
