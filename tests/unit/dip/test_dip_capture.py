"""The captured step, with a CUDA that is played: which calls run, which are replays, and what happens if a capture fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from restore_sdk.dip.capture import WARM_UPS, Replayed


class Stream:
    def wait_stream(self, other: Stream) -> None:
        """Nothing runs at once here."""


class Graph:
    replays = 0

    def replay(self) -> None:
        Graph.replays += 1


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the played CUDA."""
    asked: list[str] = []

    @contextmanager
    def entered(name: str) -> Iterator[None]:
        asked.append(name)
        yield

    Graph.replays = 0
    played: dict[str, Any] = {
        "Stream": Stream,
        "current_stream": Stream,
        "CUDAGraph": Graph,
        "stream": lambda _: entered("beside"),
        "graph": lambda _: entered("capture"),
        "synchronize": lambda: asked.append("synchronize"),
    }
    for name, value in played.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return asked


def test_a_few_calls_run_beside_and_the_rest_are_replays(cuda: list[str]) -> None:
    calls = 0

    def step() -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        return torch.tensor(calls), torch.tensor(0)

    replayed = Replayed(step)
    seen = [int(replayed()[0]) for _ in range(WARM_UPS + 5)]
    assert cuda == ["beside"] * WARM_UPS + ["synchronize", "capture"]
    assert seen == [1, 2, 3, 4, 4, 4, 4, 4]  # a replay writes to the same place
    assert (calls, Graph.replays, replayed.captured) == (WARM_UPS + 1, 5, True)


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted when stream is capturing"), torch.OutOfMemoryError()])
def test_a_step_that_cannot_be_captured_is_called(cuda: list[str], error: Exception) -> None:
    def step() -> tuple[torch.Tensor, torch.Tensor]:
        if cuda[-1] == "capture":
            cuda.append("failed")
            raise error
        return torch.tensor(7), torch.tensor(0)

    replayed = Replayed(step)
    for _ in range(WARM_UPS):
        replayed()
    if isinstance(error, torch.OutOfMemoryError):
        with pytest.raises(torch.OutOfMemoryError):
            replayed()
        return
    assert [int(replayed()[0]) for _ in range(2)] == [7, 7]
    assert not replayed.captured
