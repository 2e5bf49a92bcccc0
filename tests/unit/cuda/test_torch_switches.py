"""The arithmetic of GPUs for a while, whichever of PyTorch's switches the program uses. They exist without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Condition, Event, Thread
from typing import Any

import pytest
import torch

from restore_sdk.cuda import torch_switches
from restore_sdk.cuda.torch_switches import fixed_arithmetic
from restore_sdk.errors import BackendError

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


def state() -> tuple[object, ...]:
    cudnn = BACKENDS.cudnn
    return cudnn.deterministic, cudnn.benchmark, *precisions()


def inside(*, tf32: bool) -> tuple[object, ...]:
    with fixed_arithmetic(torch, tf32=tf32):
        return state()


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("first", [0, 1])
def test_who_leaves_first_takes_nothing_from_the_other(tf32: bool, first: int) -> None:
    before, wanted = state(), inside(tf32=tf32)
    blocks = [ExitStack(), ExitStack()]
    for block in blocks:
        block.enter_context(fixed_arithmetic(torch, tf32=tf32))
    blocks[first].close()
    assert state() == wanted
    blocks[1 - first].close()
    assert state() == before


class Told(Condition):
    """Sets `asked` when a thread is about to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = Event()

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        if not predicate():
            self.asked.set()
        return super().wait_for(predicate, timeout)


def test_the_other_arithmetic_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = Told()
    monkeypatch.setattr(torch_switches._USERS, "_changed", changed)
    before, plain, rounded = state(), inside(tf32=False), inside(tf32=True)
    seen: list[tuple[object, ...]] = []
    thread = Thread(target=lambda: seen.append(inside(tf32=True)))
    with ExitStack() as outer:
        outer.enter_context(fixed_arithmetic(torch))
        with fixed_arithmetic(torch):
            thread.start()
            assert changed.asked.wait(60)
        assert (state(), seen) == (plain, []), "one of two has left"
    thread.join()
    assert seen == [rounded]
    assert state() == before


def test_one_arithmetic_inside_the_other_is_refused() -> None:
    before, wanted = state(), inside(tf32=True)
    with fixed_arithmetic(torch, tf32=True):
        with pytest.raises(BackendError, match="one after the other"), fixed_arithmetic(torch):
            pass
        assert state() == wanted
    assert state() == before


def test_a_switch_that_cannot_be_set_leaves_all_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    before = state()
    real = torch_switches._set

    def stuck(switches: tuple[torch_switches.Switch, ...]) -> None:
        monkeypatch.setattr(torch_switches, "_set", real)
        real(switches[:4])
        raise RuntimeError("no such switch")

    monkeypatch.setattr(torch_switches, "_set", stuck)
    with pytest.raises(RuntimeError, match="no such switch"):
        inside(tf32=True)
    assert state() == before
    assert inside(tf32=True)[:2] == (True, False), "nobody is thought to be inside"
