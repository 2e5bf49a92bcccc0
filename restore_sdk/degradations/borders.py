"""What lies beyond the border of an image, and the adjoint of putting it there."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Border = Literal["zero", "reflect"]


def extend(x: Tensor, rows: int, columns: int, border: Border) -> Tensor:
    """(N, C, H, W) -> (N, C, H + 2 rows, W + 2 columns): zeros, or the image mirrored about its outermost pixels (which are not
    repeated; mirrored again and again where the image is smaller than the border)."""
    if border == "zero":
        return functional.pad(x, (columns, columns, rows, rows))
    above, beside = (_mirrored(side, margin, x.device) for side, margin in ((x.shape[2], rows), (x.shape[3], columns)))
    return x.index_select(2, above).index_select(3, beside)


def fold(y: Tensor, rows: int, columns: int, border: Border) -> Tensor:
    """The adjoint of extend(): (N, C, H + 2 rows, W + 2 columns) -> (N, C, H, W); what came from a pixel is added to it."""
    height, width = y.shape[2] - 2 * rows, y.shape[3] - 2 * columns
    if border == "zero":
        return y[:, :, rows : rows + height, columns : columns + width]
    narrow = y.new_zeros((*y.shape[:3], width)).index_add(3, _mirrored(width, columns, y.device), y)
    return narrow.new_zeros((*y.shape[:2], height, width)).index_add(2, _mirrored(height, rows, y.device), narrow)


def _mirrored(length: int, margin: int, device: torch.device) -> Tensor:
    """Source of each place from -margin to length + margin - 1."""
    if length == 1:
        return torch.zeros(1 + 2 * margin, dtype=torch.int64, device=device)
    place = torch.arange(-margin, length + margin, device=device) % (2 * length - 2)
    return torch.minimum(place, 2 * length - 2 - place)
