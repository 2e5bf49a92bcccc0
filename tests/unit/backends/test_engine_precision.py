"""What the inspector's JSON says about FP16, in the forms that TensorRT 10 and 11 write. No engine is opened here."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from restore_sdk.backends.engine_precision import LayerPrecision, engine_information, inspected_precision


def layer(kind: str, inputs: str, outputs: str, name: str = "conv") -> dict[str, Any]:
    ends = {"Inputs": [{"Name": "x", "Format/Datatype": inputs}], "Outputs": [{"Name": "y", "Format/Datatype": outputs}]}
    return {"Name": name, "LayerType": kind, **ends}


def inspected(*layers: Any, **others: Any) -> LayerPrecision | None:
    return inspected_precision(json.dumps({"Layers": list(layers), **others}))


def test_counted_by_hand() -> None:
    found = inspected(
        layer("Reformat", "Row major linear FP32", "Row major linear FP16 format"),
        layer("CaskConvolution", "Channel major FP16 format where channel % 8 == 0", "Row major linear FP16 format"),
        layer("kgen", "Half", "Float"),
        layer("CaskConvolution", "Row major linear FP32", "Row major linear FP32"),
        layer("ShapeHostToDevice", "Int64", "Int64"),
        Bindings=["image"],
    )
    assert found == LayerPrecision(2, 3, "inspector")
    assert found.share == pytest.approx(2 / 3)
    assert found.as_json() == {"half": 2, "total": 3, "share": 0.6667, "source": "inspector"}


def test_types_written_apart_are_read() -> None:
    tensor = {"Name": "x", "Format": "kLINEAR", "DataType": "Half"}
    assert inspected({"Name": "conv", "LayerType": "gemm", "Inputs": [tensor], "Outputs": [tensor]}) == LayerPrecision(
        1, 1, "inspector"
    )


@pytest.mark.parametrize(
    "information",
    [
        "",
        "[]",
        '{"Layers": []}',
        '{"Layers": ["conv", "relu"]}',
        json.dumps({"Layers": [layer("Myelin", "Float", "Float", "{ForeignNode[a...b]}")]}),
        json.dumps({"Layers": [layer("CaskConvolution", "Half", "Half"), layer("Myelin", "Float", "Float")]}),
        json.dumps({"Layers": [layer("NoOp", "Half", "Half")]}),
        json.dumps({"Layers": [layer("CaskConvolution", "N/A due to dynamic shapes", "N/A due to dynamic shapes")]}),
    ],
)
def test_what_shows_no_types_counts_for_nothing(information: str) -> None:
    """An FP16 network inside one fused layer with FP32 ends must not be taken for FP32."""
    assert inspected_precision(information) is None


def test_no_layers_no_share() -> None:
    assert LayerPrecision(0, 0, "network").share == 0


@pytest.mark.parametrize("opens", [True, False])
def test_an_engine_that_does_not_open_here_has_no_information(opens: bool) -> None:
    """Control flow only: the objects stand in for TensorRT's, which need a GPU."""
    asked: list[Any] = []
    inspector = SimpleNamespace(execution_context=None, get_engine_information=lambda form: f"information as {form}")
    context = SimpleNamespace(set_input_shape=lambda name, shape: asked.append((name, shape)) or True)
    engine = SimpleNamespace(create_execution_context=lambda: context, create_engine_inspector=lambda: inspector)
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: engine if opens else None)
    api: Any = SimpleNamespace(Runtime=lambda logger: runtime, LayerInformationFormat=SimpleNamespace(JSON="json"))
    information = engine_information(api, None, b"plan", {"image": (1, 3, 64, 64)})
    assert information == ("information as json" if opens else "")
    assert asked == ([("image", (1, 3, 64, 64))] if opens else [])
    assert inspector.execution_context is (context if opens else None)
