"""Half precision on a CPU at float32 speed, with the arithmetic of a GPU.

PyTorch's half convolutions on most CPUs take a hundred times as long as those of float32. Tensor cores multiply half numbers,
sum in float32 and round the sum to half. Products of two half numbers are exact in float32, so convolutions and matrix products
with their operands widened and their result rounded compute the same, but for the order of summation.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

CONTRACTIONS = (
    *("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "scaled_dot_product_attention"),
)


def widen_contractions(torch: ModuleType, module: Any) -> int:
    """Rewrite `module`, a torch.fx.GraphModule of ATen operators, in place: each half contraction sums in float32. How many."""
    operators = {getattr(torch.ops.aten, name) for name in CONTRACTIONS}
    halves = [
        node
        for node in module.graph.nodes
        if node.op == "call_function"
        and getattr(node.target, "overloadpacket", None) in operators
        and getattr(node.meta.get("val"), "dtype", None) == torch.float16
    ]
    for node in halves:
        _widen(torch, module.graph, node)
    if halves:
        module.graph.lint()
        module.recompile()
    return len(halves)


def _widen(torch: ModuleType, graph: Any, node: Any) -> None:
    convert = torch.ops.aten.to.dtype
    with graph.inserting_before(node):
        wide = {argument: graph.call_function(convert, (argument, torch.float32)) for argument in node.all_input_nodes}
    for argument, widened in wide.items():
        node.replace_input_with(argument, widened)
    with graph.inserting_after(node):
        rounded = graph.call_function(convert, (node, torch.float16))
    node.replace_all_uses_with(rounded, delete_user_cb=lambda user: user is not rounded)
