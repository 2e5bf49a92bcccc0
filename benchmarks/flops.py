"""Counts the arithmetic of an ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto

CONVOLUTIONS, REFUSED = ("Conv", "ConvTranspose"), ("MatMul", "Gemm", "Einsum")
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
Shape = tuple[int, ...]


def count_flops(path: Path, height: int, width: int) -> int:
    """FLOPs of the convolutions of the model in `path` on one (1, C, height, width) image; a multiply and an add count as 2.

    Sizes are those of a real run, so no operator can defeat the shape inference. Element-wise operators are left out, as is
    usual: they are well under one percent. Raises ValueError when the graph holds matrix products, which are not counted.
    """
    model = onnx.load(path)
    refused = [node.name or node.output[0] for node in model.graph.node if node.op_type in REFUSED]
    if refused:
        raise ValueError(f"{path.name} has matrix products ({', '.join(refused)}); only convolutions are counted")
    shapes = observed_shapes(model, height, width)
    return sum(convolution_flops(node, shapes) for node in model.graph.node if node.op_type in CONVOLUTIONS)


def count_parameters(path: Path) -> int:
    """Values in the initialisers with at least one axis, of floating point or of quantised weights; scales and zero points are
    not parameters."""
    graph = onnx.load(path).graph
    scales = {name for node in graph.node if node.op_type in QUANTISERS for name in node.input[1:]}
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8)
    tensors = [tensor for tensor in graph.initializer if tensor.name not in scales]
    return sum(math.prod(tensor.dims) for tensor in tensors if tensor.data_type in kinds and tensor.dims)


def convolution_flops(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """FLOPs of one convolution. shapes: of its weights (second input) and of its output (Conv) or first input (ConvTranspose)."""
    # every output value of a Conv (every input value of a ConvTranspose) meets weights.size / weights.shape[0] weights
    weights = shapes[node.input[1]]
    return 2 * math.prod(shapes[_moved(node)]) * math.prod(weights) // weights[0]


def observed_shapes(model: ModelProto, height: int, width: int) -> dict[str, Shape]:
    """Shapes of all initialisers and of every tensor that a convolution moves, from one run on a (1, C, height, width) image."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    quantised = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in shapes]
    shapes |= {node.output[0]: shapes[node.input[0]] for node in quantised}
    names = list(dict.fromkeys(_moved(node) for node in model.graph.node if node.op_type in CONVOLUTIONS))
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    outputs = session.run(names, {image.name: np.zeros((1, image.shape[1], height, width), np.float32)})
    return shapes | {name: output.shape for name, output in zip(names, outputs, strict=True)}


def _moved(node: NodeProto) -> str:
    return str(node.output[0] if node.op_type == "Conv" else node.input[0])
