"""FLOPs of known convolutions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.flops import count_flops, count_parameters


def write_model(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]]) -> Path:
    axes = ["n", 3, "h", "w"]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("restored", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_strided_convolution_with_bias(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["image", "w", "b"], ["restored"], pads=[1, 1, 1, 1], strides=[2, 2])
    path = write_model(tmp_path / "conv.onnx", [node], {"w": (8, 3, 3, 3), "b": (8,)})
    assert count_flops(path, 10, 12) == 2 * (5 * 6 * 8) * (3 * 3 * 3)
    assert count_parameters(path) == 8 * 27 + 8


def test_grouped_convolution(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["image", "w"], ["restored"], pads=[1, 1, 1, 1], group=3)
    path = write_model(tmp_path / "group.onnx", [node], {"w": (6, 1, 3, 3)})
    assert count_flops(path, 4, 4) == 2 * (4 * 4 * 6) * 9


def test_transposed_convolution_counts_its_input(tmp_path: Path) -> None:
    node = helper.make_node("ConvTranspose", ["image", "w"], ["restored"], strides=[2, 2])
    path = write_model(tmp_path / "up.onnx", [node], {"w": (3, 5, 2, 2)})
    assert count_flops(path, 4, 6) == 2 * (4 * 6 * 3) * (5 * 2 * 2)


def test_two_convolutions_add_up_and_activations_are_free(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "v"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["restored"]),
    ]
    path = write_model(tmp_path / "two.onnx", nodes, {"v": (4, 3, 1, 1), "w": (2, 4, 1, 1)})
    assert count_flops(path, 5, 5) == 2 * 25 * (4 * 3 + 2 * 4)


def test_matrix_products_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["image", "w"], ["restored"], name="mix")
    path = write_model(tmp_path / "matmul.onnx", [node], {"w": (7, 7)})
    with pytest.raises(ValueError, match=r"matmul\.onnx has matrix products \(mix\)"):
        count_flops(path, 7, 7)
