"""The step as one CUDA graph: on a GPU a narrow network spends its time in launching kernels, not in running them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from restore_sdk.cuda.torch_graphs import capture_stream, captured
from restore_sdk.cuda.torch_switches import CAPTURING

Step: TypeAlias = Callable[[], tuple[Tensor, Tensor]]
WARM_UPS = 3  # calls beside the capture, which libraries use to choose algorithms and make room


class Replayed:
    """A step of fixed shapes and places in memory on `device`: called as it is a few times, then captured and replayed.

    Every call is a real iteration of the same step. It is not held here: it belongs to whoever holds this, and a GPU's memory
    must not wait for the garbage collector. What a call returns lies in one place and is overwritten by the next call. A step
    that cannot be captured is called as it is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._calls = device, 0
        self._graph: Any = None
        self._made: tuple[Tensor, Tensor] | None = None

    def __call__(self, step: Step) -> tuple[Tensor, Tensor]:
        self._calls += 1
        with CAPTURING:
            if self._calls <= WARM_UPS:
                return self._beside(step)
            if self._calls == WARM_UPS + 1:
                self._capture(step)
            if self._graph is None or self._made is None:
                return step()
            self._graph.replay()
            return self._made

    @property
    def captured(self) -> bool:
        """Whether calls are replays."""
        return self._graph is not None

    def _beside(self, step: Step) -> tuple[Tensor, Tensor]:
        stream, own = torch.cuda.current_stream(self._device), capture_stream(torch, self._index)
        own.wait_stream(stream)
        with torch.cuda.stream(own):
            made = step()
        stream.wait_stream(own)
        return made

    def _capture(self, step: Step) -> None:
        """Other threads may go on with their own work."""
        try:
            self._graph, self._made = captured(torch, self._index, step)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # an operator that copies from the host or waits for the device
            return

    @property
    def _index(self) -> int:
        return torch.cuda.current_device() if self._device.index is None else self._device.index
