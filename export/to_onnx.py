"""PyTorch to ONNX with torch.export: one file, named dynamic axes, nothing in it but the graph and its weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from export.errors import ExportError
from restore_sdk.extras import require

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto
    from torch import nn

INPUT, OUTPUT = "image", "restored"
AXES = {0: "batch", 2: "height", 3: "width"}
OPSETS = range(18, 24)  # 17 and below go through a converter that loses names
DEFAULT_OPSET = 20


def trace(network: nn.Module, channels: int, size_multiple: int, opset: int = DEFAULT_OPSET) -> ModelProto:
    """ONNX model of `network`, (batch, channels, height, width) float32 in and out, with the exporter's notes still on it.

    The example is larger than one in every axis, so that no axis is taken for a constant. Raises ExportError if the network
    cannot be traced, or if an axis came out fixed.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset {opset} is not supported", f"pass --opset {OPSETS.start}..{OPSETS.stop - 1}")
    torch = require("torch", "export")
    require("onnxscript", "export")
    example = torch.zeros(2, channels, 6 * size_multiple, 10 * size_multiple)
    axes = {axis: torch.export.Dim(name) for axis, name in AXES.items()}
    try:
        with _known_notices_hidden():
            program = torch.onnx.export(
                network.eval(),
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=(axes,),
                external_data=False,
            )
    except torch.onnx.OnnxExporterError as exc:
        raise ExportError(f"PyTorch cannot export the network ({_gist(exc)})", "rewrite the operator that it names") from exc
    model: ModelProto = program.model_proto
    _check_axes(model)
    return model


def serialised(model: ModelProto) -> bytes:
    """Bytes of `model` without stack traces, scopes, notes and local paths; `model` itself is stripped too.

    Raises ExportError if onnx.checker refuses it.
    """
    onnx = require("onnx", "export")
    del model.metadata_props[:]
    model.doc_string = ""
    _strip_graph(model.graph)
    for function in model.functions:
        del function.metadata_props[:]
        function.doc_string = ""
        _strip_nodes(function.node)
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as exc:
        raise ExportError(f"the exported graph is not valid ONNX ({_gist(exc)})", "pass another --opset") from exc
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _strip_graph(graph: GraphProto) -> None:
    del graph.metadata_props[:]
    graph.doc_string = ""
    for noted in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del noted.metadata_props[:]
        noted.doc_string = ""
    _strip_nodes(graph.node)


def _strip_nodes(nodes: Any) -> None:
    for node in nodes:
        del node.metadata_props[:]
        node.doc_string = ""
        for attribute in node.attribute:
            attribute.doc_string = ""
            for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _strip_graph(graph)


def _check_axes(model: ModelProto) -> None:
    """A branch on the input's size makes the tracer freeze an axis; better to fail here than on the second image."""
    names = [(value.name, _dims(value)) for value in (*model.graph.input, *model.graph.output)]
    if [name for name, _ in names] != [INPUT, OUTPUT]:
        raise ExportError(
            f"the graph has the tensors {names}", f"export a network with one input ({INPUT}) and one output ({OUTPUT})"
        )
    for name, dims in names:
        if len(dims) != 4 or any(isinstance(dims[axis], int) for axis in AXES):
            raise ExportError(f"{name!r} came out as {dims}", "remove what ties the network to one size")
    if _dims(model.graph.input[0])[2:] != ["height", "width"] or _dims(model.graph.input[0])[0] != "batch":
        raise ExportError(f"the input's axes came out as {_dims(model.graph.input[0])}", "remove what ties the axes together")


def _dims(value: ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _gist(exc: Exception) -> str:
    """The exporter's errors are pages long and end with the cause."""
    cause: BaseException = exc
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__


@contextmanager
def _known_notices_hidden() -> Iterator[None]:
    """The exporter of PyTorch 2.13 misses torchvision, which we do not use, and trips over its own deprecations."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    registration.addFilter(_is_not_about_torchvision)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        registration.removeFilter(_is_not_about_torchvision)


def _is_not_about_torchvision(record: logging.LogRecord) -> bool:
    return "torchvision is not installed" not in record.getMessage()
