"""PyTorch's switches for the arithmetic of GPUs, which are the process's own, set for a while and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, NamedTuple


class Switch(NamedTuple):
    """One setting, and a value of it."""

    owner: Any
    name: str
    value: object


@contextmanager
def fixed_arithmetic(torch: ModuleType, *, tf32: bool = False) -> Iterator[None]:
    """cuDNN's deterministic kernels, which give the same bits each time, and TF32, which rounds float32 to 10 bits, only in
    convolutions and where it is asked for.

    PyTorch has an older switch for TF32 and newer ones that go before it (its notes on CUDA, "TensorFloat-32"). A program may use
    either, and where they disagree PyTorch raises when the older one is read. So all of them are set, in an order that agrees.
    """
    cudnn, matrices = torch.backends.cudnn, torch.backends.cuda.matmul
    precision = "tf32" if tf32 else "ieee"
    wanted = (
        Switch(cudnn, "enabled", True),
        Switch(cudnn, "benchmark", False),
        Switch(cudnn, "deterministic", True),
        Switch(cudnn, "allow_tf32", tf32),  # before the two below, which it would change
        Switch(cudnn.conv, "fp32_precision", precision),
        Switch(cudnn.rnn, "fp32_precision", precision),
        Switch(matrices, "allow_tf32", False),
        Switch(matrices, "fp32_precision", "ieee"),
    )
    before = _read(wanted)
    try:
        _set(wanted)
        yield
    finally:
        _set(before)


def _read(switches: tuple[Switch, ...]) -> tuple[Switch, ...]:
    """What they are now, but for one that cannot be read."""
    found = []
    for switch in switches:
        with suppress(RuntimeError):
            found.append(switch._replace(value=getattr(switch.owner, switch.name)))
    return tuple(found)


def _set(switches: tuple[Switch, ...]) -> None:
    for switch in switches:
        setattr(switch.owner, switch.name, switch.value)
