"""The arithmetic of GPUs for a while, whichever of PyTorch's switches the program uses. They exist without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from restore_sdk.cuda.torch_switches import fixed_arithmetic

BACKENDS: Any = torch.backends


def precisions() -> tuple[str, ...]:
    cudnn = BACKENDS.cudnn
    matrices = BACKENDS.cuda.matmul.fp32_precision
    return BACKENDS.fp32_precision, cudnn.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, matrices


@pytest.fixture(autouse=True)
def _as_they_were() -> Iterator[None]:
    held = precisions()
    yield
    BACKENDS.fp32_precision, BACKENDS.cudnn.fp32_precision = held[:2]
    BACKENDS.cudnn.allow_tf32 = held[2] == "tf32"
    BACKENDS.cuda.matmul.allow_tf32 = held[4] == "tf32"
    BACKENDS.cudnn.conv.fp32_precision, BACKENDS.cudnn.rnn.fp32_precision, BACKENDS.cuda.matmul.fp32_precision = held[2:]


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (BACKENDS.cudnn, "allow_tf32", True),
        (BACKENDS.cudnn, "allow_tf32", False),
        (BACKENDS, "fp32_precision", "tf32"),
        (BACKENDS, "fp32_precision", "ieee"),
        (BACKENDS.cudnn, "fp32_precision", "tf32"),
        (BACKENDS.cuda.matmul, "allow_tf32", True),
        (BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
        (BACKENDS.cudnn.conv, "fp32_precision", "ieee"),  # PyTorch then refuses to say what allow_tf32 is
    ],
)
@pytest.mark.parametrize("tf32", [False, True])
def test_as_asked_for_us_and_as_it_was_for_others(owner: Any, name: str, value: object, tf32: bool) -> None:
    setattr(owner, name, value)
    before = precisions()
    with fixed_arithmetic(torch, tf32=tf32):
        assert BACKENDS.cudnn.allow_tf32 is tf32
        assert BACKENDS.cudnn.conv.fp32_precision == ("tf32" if tf32 else "ieee")
        assert BACKENDS.cuda.matmul.fp32_precision == "ieee"
        assert (BACKENDS.cudnn.benchmark, BACKENDS.cudnn.deterministic) == (False, True)
    assert precisions() == before
    assert BACKENDS.cudnn.deterministic is False
