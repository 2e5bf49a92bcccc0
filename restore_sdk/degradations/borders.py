"""What lies beyond the border of an image, and the adjoint of putting it there.

On a GPU index_select (in its gradient) and index_add add up in no fixed order what belongs to one pixel, so a seed would not
decide a fit through a blur. There the mirrored border is made of slices, whose gradients are added up in one order.
"""

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
    if x.is_cuda:
        return mirrored_by_slices(mirrored_by_slices(x, rows, 2), columns, 3)
    above, beside = (_mirrored(side, margin, x.device) for side, margin in ((x.shape[2], rows), (x.shape[3], columns)))
    return x.index_select(2, above).index_select(3, beside)


def fold(y: Tensor, rows: int, columns: int, border: Border) -> Tensor:
    """The adjoint of extend(): (N, C, H + 2 rows, W + 2 columns) -> (N, C, H, W); what came from a pixel is added to it, on a GPU
    in no fixed order."""
    height, width = y.shape[2] - 2 * rows, y.shape[3] - 2 * columns
    if border == "zero":
        return y[:, :, rows : rows + height, columns : columns + width]
    narrow = y.new_zeros((*y.shape[:3], width)).index_add(3, _mirrored(width, columns, y.device), y)
    return narrow.new_zeros((*y.shape[:2], height, width)).index_add(2, _mirrored(height, rows, y.device), narrow)


def mirrored_by_slices(x: Tensor, margin: int, axis: int) -> Tensor:
    """`x` with `margin` more places before and after on one axis, mirrored as by extend(), without an index."""
    if x.shape[axis] == 1:
        return x.expand([1 + 2 * margin if at == axis else side for at, side in enumerate(x.shape)])
    while margin > 0:  # what was mirrored as far as it goes is mirrored again
        reach = min(margin, x.shape[axis] - 1)
        before = x.narrow(axis, 1, reach).flip(axis)
        after = x.narrow(axis, x.shape[axis] - 1 - reach, reach).flip(axis)
        x, margin = torch.cat([before, x, after], axis), margin - reach
    return x


def _mirrored(length: int, margin: int, device: torch.device) -> Tensor:
    """Source of each place from -margin to length + margin - 1."""
    if length == 1:
        return torch.zeros(1 + 2 * margin, dtype=torch.int64, device=device)
    place = torch.arange(-margin, length + margin, device=device) % (2 * length - 2)
    return torch.minimum(place, 2 * length - 2 - place)
