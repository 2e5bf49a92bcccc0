"""Which operators of a graph read the whole image, and so make a tile differ from the same pixels of the whole.

The exporter writes a symbolic size ("height", "(width//2)", "height*width") on every axis that depends on the image, and a
number on every other. An operator that mixes the positions of a symbolic axis reads the whole image. An axis of unknown size
counts as symbolic: a needless refusal of exact tiles can be seen, a seam may not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from restore_sdk.extras import require

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

Dim: TypeAlias = int | str | None
Shape: TypeAlias = tuple[Dim, ...] | None  # None: not even the number of axes is known

REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def global_ops(model: ModelProto) -> tuple[str, ...]:
    """Names of the operators that read the whole image, as "node (operator)", in the order of the graph. `model` is as the
    exporter wrote it, with the shapes of its inner tensors."""
    onnx = require("onnx", "export")
    inferred: ModelProto = onnx.shape_inference.infer_shapes(model)
    return tuple(dict.fromkeys(f"{node.name} ({node.op_type})" for node in _reading_everything(inferred.graph, {}, {})))


def _reading_everything(
    graph: GraphProto, outer_shapes: Mapping[str, Shape], outer_constants: Mapping[str, NDArray[Any]]
) -> Iterator[NodeProto]:
    """Such nodes of a graph and of the bodies of its If, Loop and Scan nodes, which see the tensors outside."""
    constants = {**outer_constants, **_constants(graph)}
    shapes = {**outer_shapes, **{name: value.shape for name, value in constants.items()}, **_shapes(graph)}
    for node in graph.node:
        rule = RULES.get(node.op_type)
        if rule is not None and rule(_Operator(node, shapes, constants)):
            yield node
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from _reading_everything(body, shapes, constants)


def _constants(graph: GraphProto) -> dict[str, NDArray[Any]]:
    onnx = require("onnx", "export")
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    return {name: onnx.numpy_helper.to_array(tensor) for name, tensor in tensors.items()}


def _shapes(graph: GraphProto) -> dict[str, Shape]:
    return {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}


def _shape(value: ValueInfoProto) -> Shape:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor.shape.dim)


@dataclass(frozen=True, slots=True)
class _Operator:
    node: NodeProto
    shapes: Mapping[str, Shape]
    constants: Mapping[str, NDArray[Any]]

    def shape(self, index: int) -> Shape:
        return self.shapes.get(self.node.input[index]) if index < len(self.node.input) else None

    def output_shape(self) -> Shape:
        return self.shapes.get(self.node.output[0])

    def attribute(self, name: str, default: Any) -> Any:
        onnx = require("onnx", "export")
        found = [onnx.helper.get_attribute_value(item) for item in self.node.attribute if item.name == name]
        return found[0] if found else default

    def constant(self, index: int) -> NDArray[Any] | None:
        return self.constants.get(self.node.input[index]) if index < len(self.node.input) else None


def _is_spatial(dim: Dim) -> bool:
    """Whether a size depends on the image: a symbol, but not the batch's own."""
    return not isinstance(dim, int) and dim != "batch"


def _mixes(shape: Shape, axes: Iterable[int]) -> bool:
    return shape is None or any(_is_spatial(shape[axis]) for axis in axes if -len(shape) <= axis < len(shape))


def _over_axis(default: int) -> Callable[[_Operator], bool]:
    return lambda op: _mixes(op.shape(0), [op.attribute("axis", default)])


def _over_inner_axes(op: _Operator) -> bool:
    """Pooling and normalisation over every axis after batch and channels."""
    shape = op.shape(0)
    return shape is None or _mixes(shape, range(2, len(shape)))


def _over_last_axes(op: _Operator) -> bool:
    shape = op.shape(0)
    return shape is None or _mixes(shape, range(int(op.attribute("axis", -1)) % len(shape), len(shape)))


def _over_any_axis(op: _Operator) -> bool:
    shape = op.shape(0)
    return shape is None or _mixes(shape, range(len(shape)))


def _over_reduced_axes(op: _Operator) -> bool:
    given = op.constant(1)
    axes = op.attribute("axes", None) if given is None else np.atleast_1d(given).tolist()
    computed = len(op.node.input) > 1 and bool(op.node.input[1]) and given is None
    if computed or (not axes and not op.attribute("noop_with_empty_axes", 0)):
        return _over_any_axis(op)
    return _mixes(op.shape(0), axes or [])


def _over_mean_axes(op: _Operator) -> bool:
    return _mixes(op.shape(0), op.attribute("axes", [0, 2, 3]))


def _over_given_axis(op: _Operator) -> bool:
    """CumSum: its axis is an input."""
    axis = op.constant(1)
    return _over_any_axis(op) if axis is None else _mixes(op.shape(0), np.atleast_1d(axis).tolist())


def _contracts(op: _Operator) -> bool:
    """MatMul: sums over positions, or pairs every position with every other."""
    left, right = op.shape(0), op.shape(1)
    if left is None or right is None:
        return left is None and right is None
    summed = (left[-1], right[-2] if len(right) > 1 else right[-1])
    pairs = len(left) > 1 and len(right) > 1 and _is_spatial(left[-2]) and _is_spatial(right[-1])
    return pairs or all(_is_spatial(dim) for dim in summed)


def _gemm_contracts(op: _Operator) -> bool:
    return _mixes(op.shape(0), [0 if op.attribute("transA", 0) else 1])


def _einsum_contracts(op: _Operator) -> bool:
    """Sums over a label that is missing on the right, or pairs positions of one operand with positions of another."""
    left, arrow, right = op.attribute("equation", b"").decode().replace(" ", "").partition("->")
    terms = left.split(",")
    shapes = [op.shape(index) for index in range(len(terms))]
    if (
        not arrow
        or "." in left
        or any(shape is None or len(shape) != len(term) for shape, term in zip(shapes, terms, strict=True))
    ):
        return True
    spatial = [
        {label for label, dim in zip(term, shape or (), strict=True) if _is_spatial(dim)}
        for term, shape in zip(terms, shapes, strict=True)
    ]
    return any(labels - set(right) for labels in spatial) or any(a - b and b - a for a in spatial for b in spatial)


def _attends(op: _Operator) -> bool:
    """Attention: queries, keys and values are (batch, [heads,] positions, features)."""
    return _mixes(op.shape(0), [-2])


def _resizes_to_absolute(op: _Operator) -> bool:
    """A fixed target size, or a grid pinned to the image's corners, makes each pixel depend on the image's size."""
    pinned = op.attribute("coordinate_transformation_mode", b"half_pixel") in (b"align_corners", b"tf_crop_and_resize")
    scales = op.constant(2)
    if scales is not None and scales.size:
        return pinned and bool((scales != 1).any())
    before, after = op.shape(0), op.output_shape()
    if before is None or after is None:
        return True
    spatial = [(a, b) for a, b in zip(before, after, strict=True) if _is_spatial(a) or _is_spatial(b)]
    return any((pinned and a != b) or _is_spatial(a) != _is_spatial(b) for a, b in spatial)


def _uses_batch_statistics(op: _Operator) -> bool:
    return bool(op.attribute("training_mode", 0)) and _over_inner_axes(op)


def _always(op: _Operator) -> bool:
    """Recurrence, sampling at computed places, and searches: no axis says how far they reach."""
    return True


RULES: Mapping[str, Callable[[_Operator], bool]] = {
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _over_inner_axes),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), _over_inner_axes),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"), _over_last_axes),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "TopK"), _over_axis(-1)),
    **dict.fromkeys(("ArgMax", "ArgMin"), _over_axis(0)),
    **{f"Reduce{name}": _over_reduced_axes for name in REDUCTIONS},
    **dict.fromkeys(("DFT", "STFT", "NonZero", "Unique"), _over_any_axis),
    **dict.fromkeys(("GridSample", "DeformConv", "NonMaxSuppression", "RNN", "LSTM", "GRU", "Scan"), _always),
    "MeanVarianceNormalization": _over_mean_axes,
    "BatchNormalization": _uses_batch_statistics,
    "CumSum": _over_given_axis,
    "MatMul": _contracts,
    "Gemm": _gemm_contracts,
    "Einsum": _einsum_contracts,
    "Attention": _attends,
    "MultiHeadAttention": _attends,
    "Resize": _resizes_to_absolute,
}
