"""FP16 as a GPU computes it, at the CPU's float32 speed.

PyTorch's half convolutions on most CPUs take hundreds of times as long as float32 ones. Tensor cores multiply half numbers,
sum in float32 and round the sum to half; that is what this does: products of two half numbers are exact in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from export.precision import cast

CONTRACTIONS: frozenset[Callable[..., Any]] = frozenset(
    [
        *(torch.conv1d, torch.conv2d, torch.conv3d),
        *(functional.conv1d, functional.conv2d, functional.conv3d),
        *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
        *(functional.linear, functional.bilinear, functional.scaled_dot_product_attention),
        *(torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.baddbmm, torch.einsum),
        *(torch.Tensor.matmul, torch.Tensor.__matmul__, torch.Tensor.mm, torch.Tensor.bmm),
    ]
)


class HalfArithmetic(TorchFunctionMode):
    """Inside the `with`: convolutions and matrix products of half tensors sum in float32 and round once, to half."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func not in CONTRACTIONS or not _all_half([*args, *named.values()]):
            return func(*args, **named)  # of mixed types PyTorch complains here, as it would without this mode
        return cast(func(*cast(tuple(args), torch.float32), **cast(named, torch.float32)), torch.float16)


def _all_half(values: Iterable[Any]) -> bool:
    dtypes = {value.dtype for value in values if isinstance(value, torch.Tensor) and value.is_floating_point()}
    return dtypes == {torch.float16}
