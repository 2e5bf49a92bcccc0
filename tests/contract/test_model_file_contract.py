"""What every backend that opens a model file must refuse, and how it says what its runtime said."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from backend_checks import check_closed_twice
from onnx import TensorProto, helper

from restore_sdk.backends.file_backend import FileBackend
from restore_sdk.backends.onnx_library import vendor_errors
from restore_sdk.backends.onnx_runtime import OnnxRuntimeBackend
from restore_sdk.backends.opening import open_backend
from restore_sdk.backends.openvino import OpenVinoBackend
from restore_sdk.backends.torch_program import TorchProgramBackend
from restore_sdk.errors import (
    BackendError,
    DeviceMemoryError,
    MissingExtraError,
    ModelDamagedError,
    ModelHashError,
    ModelSpecError,
    OptionsError,
)
from restore_sdk.spec import ModelSpec

SaveModel = Callable[..., Path]
Open = Callable[..., Any]
STATE = onnxruntime.capi.onnxruntime_pybind11_state
EXTRAS = {"onnxruntime": "cpu", "openvino": "openvino", "torch": "torch"}  # by backend, which its module is called after
OF_ONNX = ("onnxruntime", "openvino")
LOADERS: dict[str, tuple[ModuleType, str]] = {"onnxruntime": (onnxruntime, "InferenceSession"), "openvino": (openvino, "Core")}


@pytest.fixture(params=EXTRAS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_it(name: str, request: pytest.FixtureRequest) -> Open:
    """open_it(**options): the small network on this backend."""
    path = request.getfixturevalue("small_program" if name == "torch" else "small_model")
    return lambda **options: open_backend(path, backend=name, **{"device": "cpu", "threads": 1, **options})


def open_onnx(path: Path, name: str) -> FileBackend:
    backend = open_backend(path, backend=name, device="cpu", threads=1)
    assert isinstance(backend, FileBackend)
    return backend


def test_batches_that_break_the_contract(open_it: Open) -> None:
    backend = open_it()
    shapes = [(1, 3, 8, 6), (1, 1, 8, 8), (3, 8, 8)]
    for batch in (*(np.zeros(shape, np.float32) for shape in shapes), np.zeros((1, 3, 8, 8), np.float64)):
        with pytest.raises(BackendError, match=r"wanted float32 of shape \(N, 3, H, W\) with H and W multiples of 4"):
            backend.infer(batch)


def test_use_after_close(open_it: Open) -> None:
    check_closed_twice(open_it(), np.zeros((1, 3, 8, 8), np.float32))


def test_no_threads_are_refused(open_it: Open) -> None:
    with pytest.raises(OptionsError, match="threads=0, expected an integer from 1 to 1024"):
        open_it(threads=0)


def test_missing_runtime_names_the_extra(name: str, open_it: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'restore-sdk\[{EXTRAS[name]}\]'"):
        open_it()


def raising(name: str, exc: Exception, spec: ModelSpec) -> FileBackend:
    """A backend whose runtime raises `exc` at work."""

    def fail(*_: object) -> None:
        raise exc

    node = SimpleNamespace(name="image")
    if name == "onnxruntime":
        session = SimpleNamespace(run=fail, get_inputs=lambda: [node], get_outputs=lambda: [node])
        return OnnxRuntimeBackend(session, spec, {}, vendor_errors(onnxruntime))
    if name == "openvino":
        return OpenVinoBackend(openvino, SimpleNamespace(create_infer_request=fail), spec, {})
    return TorchProgramBackend(SimpleNamespace(run=fail), spec, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "exc"),
    [
        (
            "onnxruntime",
            STATE.RuntimeException("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 9"),
        ),
        ("onnxruntime", STATE.Fail("CUDA failure 2: out of memory")),
        ("onnxruntime", RuntimeError("std::bad_alloc")),
        ("onnxruntime", MemoryError("Unable to allocate 192. GiB")),
        ("openvino", MemoryError("std::bad_alloc")),
        ("openvino", RuntimeError("[CPU] Not enough memory to allocate 9 bytes")),
        ("torch", RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory")),
    ],
)
def test_out_of_memory_names_the_tile(small_spec: ModelSpec, name: str, exc: Exception) -> None:
    with pytest.raises(DeviceMemoryError, match="pass a smaller tile") as caught:
        raising(name, exc, small_spec).infer(np.zeros((1, 3, 8, 16), np.float32))
    assert caught.value.tile == (8, 16)
    assert caught.value.__cause__ is exc


@pytest.mark.parametrize(
    ("name", "kind"),
    [("onnxruntime", STATE.Fail), ("openvino", RuntimeError), ("torch", AssertionError)],  # guards of programs are assertions
)
def test_vendor_lines_are_kept(small_spec: ModelSpec, name: str, kind: type[Exception]) -> None:
    with pytest.raises(BackendError) as caught:
        raising(name, kind("Guard failed: first\nsecond"), small_spec).infer(np.zeros((1, 3, 8, 8), np.float32))
    assert caught.value.log == ("Guard failed: first", "second")
    assert not isinstance(caught.value, DeviceMemoryError)


def test_our_own_bugs_pass_through(small_spec: ModelSpec, name: str) -> None:
    with pytest.raises(ZeroDivisionError):
        raising(name, ZeroDivisionError(), small_spec).infer(np.zeros((1, 3, 8, 8), np.float32))


@pytest.mark.parametrize("name", OF_ONNX)
def test_runtime_never_sees_bytes_of_another_digest(name: str, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*LOADERS[name], None)
    with pytest.raises(ModelHashError, match="install restore-sdk again"):
        open_backend(small_model, backend=name, sha256="0" * 64)


@pytest.mark.parametrize("name", OF_ONNX)
def test_runtime_never_opens_external_data(name: str, tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "split.onnx"
    onnx.save(onnx.load(small_model), path, save_as_external_data=True, location="split.data", size_threshold=0)
    monkeypatch.setattr(*LOADERS[name], None)
    with pytest.raises(ModelDamagedError, match="single file"):
        open_onnx(path, name)


@pytest.mark.parametrize("name", OF_ONNX)
def test_no_spec_and_newer_schema(name: str, save_model: SaveModel) -> None:
    with pytest.raises(ModelSpecError, match="no metadata key"):
        open_onnx(save_model(spec=None), name)
    with pytest.raises(ModelSpecError, match="upgrade"):
        open_onnx(save_model(spec='{"schema": 2}'), name)


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


@pytest.mark.parametrize("name", OF_ONNX)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (rename_input, r"inputs \('x',\), its spec promises \('image',\)"),
        (add_output, "2 outputs, expected 1"),
        (fix_height, r"axes \[2\] fixed, expected dynamic N, H and W"),
        (only_identity(TensorProto.FLOAT, ["N", 3, "H"]), r"expected \(N, C, H, W\)"),
        (only_identity(TensorProto.FLOAT, ["N", 1, "H", "W"]), "1 channels, the spec promises 3"),
    ],
)
def test_graph_that_breaks_its_spec(name: str, save_model: SaveModel, change: Any, says: str) -> None:
    with pytest.raises(ModelSpecError, match=says):
        open_onnx(save_model(change), name)


@pytest.mark.parametrize(
    ("name", "says"),
    [("onnxruntime", r"is tensor\(float16\), expected tensor\(float\)"), ("openvino", "is f16, expected f32")],
)
def test_half_precision_outside(name: str, says: str, save_model: SaveModel) -> None:
    with pytest.raises(ModelSpecError, match=says):
        open_onnx(save_model(only_identity(TensorProto.FLOAT16, ["N", 3, "H", "W"])), name)


def test_an_input_that_nothing_reads(save_model: SaveModel) -> None:
    """OpenVINO leaves such an input out."""
    with pytest.raises(ModelSpecError, match=r"inputs \('image', 'mask'\), its spec promises"):
        open_onnx(save_model(add_input), "onnxruntime")


@pytest.mark.parametrize("name", OF_ONNX)
@pytest.mark.parametrize("change", [None, add_input])
def test_spec_with_inputs_that_cannot_be_fed(name: str, change: Any, save_model: SaveModel, small_spec: ModelSpec) -> None:
    with pytest.raises(ModelSpecError, match="another backend"):
        open_onnx(save_model(change, dataclasses.replace(small_spec, inputs=("image", "mask"))), name)
