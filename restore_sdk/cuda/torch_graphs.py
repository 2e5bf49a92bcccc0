"""PyTorch's CUDA graphs: captured one at a time, on a stream that nothing else uses, and PyTorch put right where a capture fails.

"CUDA Graphs" in PyTorch's notes on CUDA semantics. While one thread captures, no other may replay a graph, run what allocates
memory or give memory back to the driver, or either may fail: whoever does one of these holds CAPTURING meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

Made = TypeVar("Made")


def captured(torch: ModuleType, index: int, work: Callable[[], Made]) -> tuple[Any, Made]:
    """A graph of `work` on GPU `index`, and what `work` returned while it was captured: each replay writes that memory anew.

    Waits for the device. For a thread that holds CAPTURING, after `work` was run a few times. What `work` or PyTorch raises comes
    out; the thread is then on the stream that it was on.
    """
    graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
    try:
        return graph, _within(torch, index, graph, work, pool=pool)
    except BaseException:
        _put_right(torch, index, pool)
        raise


def capture_stream(torch: ModuleType, index: int) -> Any:
    """The stream of GPU `index` on which graphs are captured, and nothing else is done but what prepares that."""
    return _capture_stream(torch.cuda, index)


@cache
def _capture_stream(cuda: Any, index: int) -> Any:
    """PyTorch has 32 streams of each priority and hands them out in turn: what others do on one of them while it is captured
    would become part of the graph. Hardly anyone asks for the high priority."""
    return cuda.Stream(index, priority=-1)


def _within(torch: ModuleType, index: int, graph: Any, work: Callable[[], Made], **options: Any) -> Made:
    stream = capture_stream(torch, index)
    capturing = torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local", **options)
    with torch.cuda.stream(stream), capturing:  # the outer one is left again where the end of a capture fails, the inner is not
        return work()


def _put_right(torch: ModuleType, index: int, pool: Any) -> None:
    """After a failed end of a capture, PyTorch 2.11 leaves its allocator with `pool` in use and its random generator in the state
    of a capture (CUDAGraph::capture_end raises before it gets there): no memory could be given back, no graph captured or
    replayed. The first is ended here; the second ends with a capture that succeeds. Where all is well, this changes nothing."""
    with suppress(RuntimeError, AttributeError):
        torch._C._cuda_endAllocateToPool(index, pool)
        torch._C._cuda_releasePool(index, pool)
    with suppress(RuntimeError):
        place = torch.zeros(1, device=f"cuda:{index}")
        _within(torch, index, torch.cuda.CUDAGraph(), place.zero_)
