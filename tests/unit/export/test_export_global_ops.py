"""Operators that read the whole image, in graphs from PyTorch and in graphs made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from export.global_ops import global_ops
from export.to_onnx import trace
from training.networks.unet import ResidualUNet

CHANNELS = 8


class SpatialAttention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        weights = torch.softmax(tokens @ tokens.transpose(1, 2), -1)
        return x + (weights @ tokens).transpose(1, 2).reshape(x.shape)


class ChannelAttention(nn.Module):
    """Transposed attention: channels attend to channels, but each product sums over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2)
        return x + (torch.softmax(rows @ rows.transpose(1, 2), -1) @ rows).reshape(x.shape)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each pixel: local."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Fourier(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.fft.ifft2(torch.fft.fft2(x) * 0.5).real


class ThroughFixedSize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        small = nn.functional.interpolate(x, size=(16, 16))
        return x + nn.functional.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=True)


class Gate(nn.Module):
    """Squeeze and excitation, the global pool of NAFNet."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(nn.functional.adaptive_avg_pool2d(x, 1))


class Doubled(nn.Module):
    """Down and up by a factor: local."""

    def forward(self, x: Tensor) -> Tensor:
        small = nn.functional.avg_pool2d(x, 2)
        return x + nn.functional.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)


class Everything(nn.Module):
    """One trace for all: tracing takes seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.instance, self.group = nn.InstanceNorm2d(CHANNELS), nn.GroupNorm(2, CHANNELS)
        self.gate, self.pixel_norm, self.doubled = Gate(), ChannelNorm(), Doubled()
        self.spatial, self.channel, self.fourier, self.fixed = (
            SpatialAttention(),
            ChannelAttention(),
            Fourier(),
            ThroughFixedSize(),
        )
        self.tail = nn.Conv2d(CHANNELS, 3, 3, padding=1)

    def forward(self, y: Tensor) -> Tensor:
        x = self.doubled(self.pixel_norm(self.gate(self.group(self.instance(self.head(y))))))
        return self.tail(self.fixed(self.fourier(self.channel(self.spatial(x)))))


@pytest.fixture(scope="module")
def everything() -> onnx.ModelProto:
    torch.manual_seed(0)
    return trace(Everything(), 3, 2)


def operators(names: Sequence[str]) -> list[str]:
    return [name.partition(" (")[2].rstrip(")") for name in names]


def test_each_kind_is_found_once_where_it_stands(everything: onnx.ModelProto) -> None:
    found = operators(global_ops(everything))
    norms, gate = ["InstanceNormalization"] * 2, ["ReduceMean"]  # GroupNorm is a reshaped InstanceNormalization in opset 20
    spatial, channel = ["MatMul", "Softmax", "MatMul"], ["MatMul"]
    assert found == [*norms, *gate, *spatial, *channel, *["DFT"] * 4, "Resize", "Resize"]


def test_names_are_those_of_the_graph(everything: onnx.ModelProto) -> None:
    nodes = {f"{node.name} ({node.op_type})" for node in everything.graph.node}
    assert set(global_ops(everything)) <= nodes


def test_the_shipped_network_has_none() -> None:
    assert global_ops(trace(ResidualUNet(widths=(8,), blocks=(1,)), 3, 2)) == ()


def graph(
    operator: str, shapes: Sequence[Sequence[str | int]], constants: Sequence[Any] = (), **attributes: Any
) -> onnx.ModelProto:
    """One node named "it" on inputs of `shapes` followed by constants; the size of its output is left open."""
    inputs = [helper.make_tensor_value_info(f"x{index}", TensorProto.FLOAT, shape) for index, shape in enumerate(shapes)]
    tensors = [numpy_helper.from_array(np.asarray(value), f"c{index}") for index, value in enumerate(constants)]
    names = [*(value.name for value in inputs), *(tensor.name for tensor in tensors)]
    node = helper.make_node(operator, names, ["y"], name="it", **attributes)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    made = helper.make_graph([node], "g", inputs, [output], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


IMAGE = ["batch", 8, "height", "width"]
TOKENS = ["batch", "height*width", 8]
WINDOWS = ["batch*(height//8)*(width//8)", 64, 8]


@pytest.mark.parametrize(
    "model",
    [
        graph("GlobalAveragePool", [IMAGE]),
        graph("GlobalMaxPool", [IMAGE]),
        graph("MeanVarianceNormalization", [IMAGE]),
        graph("ReduceMean", [IMAGE], [np.array([2, 3])]),
        graph("ReduceMax", [IMAGE], [np.array([-1])]),
        graph("ReduceSum", [IMAGE]),
        graph("Softmax", [IMAGE], axis=2),
        graph("LpNormalization", [IMAGE], axis=3),
        graph("CumSum", [IMAGE], [np.array(2)]),
        graph("LayerNormalization", [IMAGE, [8, 16, 16]], axis=1),
        graph("MatMul", [TOKENS, ["batch", 8, "height*width"]]),
        graph("MatMul", [["batch", 8, "height*width"], TOKENS]),
        graph("Einsum", [TOKENS, TOKENS], equation="bnc,bmc->bnm"),
        graph("Einsum", [TOKENS, TOKENS], equation="bnc,bnd->bcd"),
        graph("GridSample", [IMAGE, ["batch", "height", "width", 2]]),
        graph("BatchNormalization", [IMAGE, [8], [8], [8], [8]], training_mode=1),
        graph(
            "Resize",
            [IMAGE],
            [np.array([], np.float32), np.array([1, 1, 2, 2], np.float32)],
            coordinate_transformation_mode="align_corners",
        ),
    ],
    ids=lambda model: model.graph.node[0].op_type,
)
def test_global(model: onnx.ModelProto) -> None:
    operator = model.graph.node[0].op_type
    assert global_ops(model) == (f"it ({operator})",)


@pytest.mark.parametrize(
    "model",
    [
        graph("Conv", [IMAGE, [8, 8, 3, 3]], pads=[1, 1, 1, 1]),
        graph("AveragePool", [IMAGE], kernel_shape=[2, 2], strides=[2, 2]),
        graph("ReduceMean", [IMAGE], [np.array([1])]),
        graph("Softmax", [IMAGE], axis=1),
        graph("Softmax", [WINDOWS], axis=-1),
        graph("LayerNormalization", [["batch", "height", "width", 8], [8]], axis=-1),
        graph("MatMul", [TOKENS, [8, 8]]),
        graph("MatMul", [WINDOWS, ["batch*(height//8)*(width//8)", 8, 64]]),
        graph("Einsum", [TOKENS, [8, 4]], equation="bnc,cd->bnd"),
        graph("BatchNormalization", [IMAGE, [8], [8], [8], [8]]),
        graph("Resize", [IMAGE], [np.array([], np.float32), np.array([1, 1, 2, 2], np.float32)]),
    ],
    ids=lambda model: model.graph.node[0].op_type,
)
def test_local(model: onnx.ModelProto) -> None:
    assert global_ops(model) == ()


def test_an_unknown_size_counts_as_spatial() -> None:
    model = graph("Softmax", [IMAGE], axis=2)
    del model.graph.input[0].type.tensor_type.shape.dim[2:]
    model.graph.input[0].type.tensor_type.shape.dim.add()
    assert global_ops(model) == ("it (Softmax)",)


def test_bodies_of_branches_are_searched() -> None:
    body = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["image"], ["inner"], name="pool")],
        "body", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )  # fmt: skip
    ends = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    branch = helper.make_node("If", ["c"], ["y"], name="branch", then_branch=body, else_branch=body)
    outer = helper.make_graph([branch], "g", ends, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    assert global_ops(helper.make_model(outer, opset_imports=[helper.make_opsetid("", 20)])) == ("pool (GlobalAveragePool)",)
