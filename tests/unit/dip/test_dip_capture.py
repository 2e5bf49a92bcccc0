"""The captured step, with a CUDA that is played: which calls run, which are replays, and what happens if a capture fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from restore_sdk.cuda import torch_graphs
from restore_sdk.dip.capture import WARM_UPS, Replayed

SECOND_GPU = torch.device("cuda:1")
Made = tuple[torch.Tensor, torch.Tensor]


class Stream:
    def __init__(self, device: torch.device | int, priority: int = 0) -> None:
        self.device = torch.device("cuda", device) if isinstance(device, int) else device
        self.priority = priority

    def wait_stream(self, other: Stream) -> None:
        """Nothing runs at once here."""
        assert other.device == self.device


class Graph:
    replays = 0

    def replay(self) -> None:
        Graph.replays += 1


class PlayedCuda:
    """`asked`: what was asked of it, in order; `streams`: those that were entered and not left, the current one last."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.streams: list[Stream] = []

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        assert stream.device == SECOND_GPU
        self.asked.append("own stream")
        before = len(self.streams)
        self.streams.append(stream)
        try:
            yield
        finally:
            del self.streams[before:]

    @contextmanager
    def graph(self, _graph: Graph, *, stream: Stream, capture_error_mode: str, pool: object = None) -> Iterator[None]:
        """Like PyTorch's own, it stays on its stream where the capture fails."""
        assert (stream.device, capture_error_mode) == (SECOND_GPU, "thread_local")
        assert pool == "a pool of its own"
        self.asked.append("capture")
        self.streams.append(stream)
        yield
        self.streams.pop()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedCuda]:
    """A machine with two GPUs, of which the first is the current one."""
    played = PlayedCuda()
    Graph.replays = 0
    values = {"Stream": Stream, "current_stream": Stream, "CUDAGraph": Graph, "stream": played.stream, "graph": played.graph}
    for name, value in values.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "a pool of its own")
    monkeypatch.setattr(torch_graphs, "_put_right", lambda *_where: played.asked.append("put right"))
    torch_graphs._capture_stream.cache_clear()
    yield played
    torch_graphs._capture_stream.cache_clear()


def test_a_few_calls_run_beside_and_the_rest_are_replays(cuda: PlayedCuda) -> None:
    calls = 0

    def step() -> Made:
        nonlocal calls
        calls += 1
        return torch.tensor(calls), torch.tensor(0)

    replayed = Replayed(SECOND_GPU)
    seen = [int(replayed(step)[0]) for _ in range(WARM_UPS + 5)]
    assert cuda.asked == ["own stream"] * WARM_UPS + ["own stream", "capture"]
    assert seen == [1, 2, 3, 4, 4, 4, 4, 4]  # a replay writes to the same place
    assert (calls, Graph.replays, replayed.captured) == (WARM_UPS + 1, 5, True)


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted when stream is capturing"), torch.OutOfMemoryError()])
def test_a_step_that_cannot_be_captured_is_called(cuda: PlayedCuda, error: Exception) -> None:
    def step() -> Made:
        if cuda.asked[-1] == "capture":
            cuda.asked.append("failed")
            raise error
        return torch.tensor(7), torch.tensor(0)

    replayed = Replayed(SECOND_GPU)
    for _ in range(WARM_UPS):
        replayed(step)
    if isinstance(error, torch.OutOfMemoryError):
        with pytest.raises(torch.OutOfMemoryError):
            replayed(step)
    else:
        assert [int(replayed(step)[0]) for _ in range(2)] == [7, 7]
    assert not replayed.captured
    assert cuda.asked[-1] == "put right"
    assert cuda.streams == []  # whoever called is on the stream that they were on
