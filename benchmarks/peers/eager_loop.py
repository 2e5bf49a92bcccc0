"""What a PyTorch program does with one image: up to the device, through the network, rounded, and back. No tiles, no graph."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MULTIPLE = 8  # pixels


class EagerLoop:
    """Restores uint8 RGB images with a PyTorch network, channels-last, on "cpu" or "cuda", in float32 or, if `half`, float16."""

    def __init__(self, network: nn.Module, device: str, *, half: bool = False) -> None:
        self._device, self._dtype = torch.device(device), torch.float16 if half else torch.float32
        self._network = copy.deepcopy(network).eval().to(self._device, self._dtype, memory_format=torch.channels_last)

    def restore(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 in and out, on the host."""
        restored: NDArray[np.uint8] = self.restore_there(torch.from_numpy(image).to(self._device)).cpu().numpy()
        return restored

    @torch.inference_mode()
    def restore_there(self, image: Tensor) -> Tensor:
        """(H, W, 3) uint8 in and out, on the device; queued on the current stream."""
        height, width = image.shape[:2]
        planes = image.permute(2, 0, 1)[None].to(self._dtype, memory_format=torch.channels_last) / 255
        padded = nn.functional.pad(planes, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="reflect")
        restored = self._network(padded)[0, :, :height, :width]
        return (restored.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
