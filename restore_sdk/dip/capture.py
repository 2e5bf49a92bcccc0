"""The step as one CUDA graph: on a GPU a narrow network spends its time in launching kernels, not in running them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Step: TypeAlias = Callable[[], tuple[Tensor, Tensor]]
WARM_UPS = 3  # calls beside the capture, which libraries use to choose algorithms and make room


class Replayed:
    """A step of fixed shapes and places in memory: called as it is a few times, then captured and replayed.

    Every call is a real iteration. What it returns lies in one place and is overwritten by the next call. A step that cannot be
    captured is called as it is.
    """

    def __init__(self, step: Step) -> None:
        self._step, self._calls = step, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._made: tuple[Tensor, Tensor] | None = None

    def __call__(self) -> tuple[Tensor, Tensor]:
        self._calls += 1
        if self._calls <= WARM_UPS:
            return self._beside()
        if self._calls == WARM_UPS + 1:
            self._capture()
        if self._graph is None or self._made is None:
            return self._step()
        self._graph.replay()
        return self._made

    @property
    def captured(self) -> bool:
        """Whether calls are replays."""
        return self._graph is not None

    def _beside(self) -> tuple[Tensor, Tensor]:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            made = self._step()
        torch.cuda.current_stream().wait_stream(stream)
        return made

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        try:
            with torch.cuda.graph(graph):
                made = self._step()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # an operator that copies from the host or waits for the device
            return
        self._graph, self._made = graph, made
