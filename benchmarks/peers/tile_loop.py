"""The tile loop that most PyTorch restoration programs use, after the one of Real-ESRGAN (Wang et al., ICCVW 2021).

Our own code, with the same choices: the whole image becomes one float tensor, a Python loop cuts windows of `tile` pixels with
`pad` pixels of context, the network runs eagerly on each, the middle of each result is pasted into a float tensor of the whole
image, and that is clamped, rounded and turned into uint8 at the end. Windows are padded by reflection to what the network needs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

TILE, PAD, MULTIPLE = 512, 10, 8  # pixels
Box = tuple[int, int, int, int]  # top, bottom, left, right


class TileLoop:
    """Restores uint8 RGB images with a PyTorch network, tile after tile, on the CPU."""

    def __init__(self, network: nn.Module, *, tile: int = TILE, pad: int = PAD, channels_last: bool = False) -> None:
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._network = network.eval()
        for weights in self._network.parameters():
            if weights.dim() == 4:
                weights.data = weights.data.contiguous(memory_format=self._format)
        self.tile, self.pad = tile, pad

    @torch.inference_mode()
    def restore(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 in and out."""
        whole = torch.from_numpy(np.transpose(image.astype(np.float32) / 255.0, (2, 0, 1)).copy()).unsqueeze(0)
        result = torch.zeros_like(whole)
        for top, bottom, left, right in self._windows(*image.shape[:2]):
            outer_top, outer_left = max(top - self.pad, 0), max(left - self.pad, 0)
            outer = whole[:, :, outer_top : bottom + self.pad, outer_left : right + self.pad]
            restored = self._run(outer)
            rows = slice(top - outer_top, bottom - outer_top)
            columns = slice(left - outer_left, right - outer_left)
            result[:, :, top:bottom, left:right] = restored[:, :, rows, columns]
        pixels = result.squeeze(0).clamp_(0, 1).numpy()
        return (np.transpose(pixels, (1, 2, 0)) * 255.0).round().astype(np.uint8)

    def _windows(self, height: int, width: int) -> Iterator[Box]:
        for top in range(0, height, self.tile):
            for left in range(0, width, self.tile):
                yield top, min(top + self.tile, height), left, min(left + self.tile, width)

    def _run(self, window: Tensor) -> Tensor:
        bottom, right = (-window.shape[2]) % MULTIPLE, (-window.shape[3]) % MULTIPLE
        padded = nn.functional.pad(window, (0, right, 0, bottom), mode="reflect")
        restored: Tensor = self._network(padded.contiguous(memory_format=self._format))
        return restored
