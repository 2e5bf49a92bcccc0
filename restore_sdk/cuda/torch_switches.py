"""What PyTorch has one of for the whole process, shared out among threads: its switches for the arithmetic of GPUs, set for a
while and put back, and the capture of CUDA graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Condition, Lock, get_ident
from types import ModuleType
from typing import Any, NamedTuple

from restore_sdk.errors import BackendError

CAPTURING = Lock()  # of a CUDA graph: PyTorch allows one at a time in a process, and all end if someone waits for the device


class Switch(NamedTuple):
    """One setting, and a value of it."""

    owner: Any
    name: str
    value: object


class _Users:
    """The blocks that are inside with one setting of `tf32`. The first sets the switches and the last puts them back; blocks of
    the other setting wait for that."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._threads: list[int] = []  # one for each block
        self._tf32 = False
        self._before: tuple[Switch, ...] = ()

    def enter(self, torch: ModuleType, thread: int, *, tf32: bool) -> None:
        with self._changed:
            if thread in self._threads and tf32 != self._tf32:
                raise BackendError("work with TF32 and work without it cannot be inside one another; do one after the other")
            self._changed.wait_for(lambda: not self._threads or tf32 == self._tf32)
            if not self._threads:
                self._tf32, self._before = tf32, _replaced(_wanted(torch, tf32=tf32))
            self._threads.append(thread)

    def leave(self, thread: int) -> None:
        with self._changed:
            self._threads.remove(thread)
            if not self._threads:
                self._changed.notify_all()  # they go on when this block has ended
                _set(self._before)


_USERS = _Users()


@contextmanager
def fixed_arithmetic(torch: ModuleType, *, tf32: bool = False) -> Iterator[None]:
    """cuDNN's deterministic kernels, which give the same bits each time, and TF32, which rounds float32 to 10 bits, only in
    convolutions and where it is asked for.

    Any number of threads may be inside at once: those of one `tf32` share the switches, and those of the other wait until the
    last of them has left. Raises BackendError inside a block of the same thread that asked for the other `tf32`.
    """
    thread = get_ident()
    _USERS.enter(torch, thread, tf32=tf32)
    try:
        yield
    finally:
        _USERS.leave(thread)


def _wanted(torch: ModuleType, *, tf32: bool) -> tuple[Switch, ...]:
    """PyTorch has an older switch for TF32 and newer ones that go before it (its notes on CUDA, "TensorFloat-32"). A program may
    use either, and where they disagree PyTorch raises when the older one is read. So all of them are set, in an order that
    agrees."""
    cudnn, matrices = torch.backends.cudnn, torch.backends.cuda.matmul
    precision = "tf32" if tf32 else "ieee"
    return (
        Switch(cudnn, "enabled", True),
        Switch(cudnn, "benchmark", False),
        Switch(cudnn, "deterministic", True),
        Switch(cudnn, "allow_tf32", tf32),  # before the two below, which it would change
        Switch(cudnn.conv, "fp32_precision", precision),
        Switch(cudnn.rnn, "fp32_precision", precision),
        Switch(matrices, "allow_tf32", False),
        Switch(matrices, "fp32_precision", "ieee"),
    )


def _replaced(wanted: tuple[Switch, ...]) -> tuple[Switch, ...]:
    """Set them; what they were before. Where one cannot be set, all are as before."""
    before = _read(wanted)
    try:
        _set(wanted)
    except BaseException:
        _set(before)
        raise
    return before


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
