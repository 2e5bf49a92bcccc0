"""Measured pixels that are kept out of the loss, to tell how well the lost ones are filled.

They must be as hard to fill as those. Single pixels are the easiest of all: each is the mean of its neighbours, so while a wide
hole is already filled with what does not belong there, the error of single pixels still goes down. So discs as deep as the holes
are kept out.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Mask = NDArray[np.bool_]

LEAST = 6  # pixels; fewer say next to nothing, and where so little is known nothing can be spared
FEWEST = 6  # discs: one alone says too little about the image
LEAST_SHARE = 0.5  # of the pixels that are wanted
_DEPTH_OF_RADIUS, _DEPTH_OF_PIXEL = 1 / 3, 2 / 3  # a disc's pixels are on average r / 3 from its border, and a pixel is no point


def held_out(usable: Tensor, known: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """About `share` of the usable pixels, in discs as deep as the holes, or less deep where there is no room for enough of them;
    pixel by pixel where holes are no deeper than that.

    usable, known  (h, w) bool, on the CPU: what may enter the loss, and what was measured at all
    Returns (h, w) bool; none at all where the share comes to fewer than LEAST pixels.
    """
    place = usable.numpy()
    count = share * int(place.sum())
    if count < LEAST:
        return torch.zeros_like(usable)
    for radius in range(disc_radius(~known.numpy(), count), 0, -1):
        candidates = _centres(place, radius)
        shuffled = candidates[torch.randperm(len(candidates), generator=generator).numpy()]
        made = _discs(shuffled, place.shape, radius, count)
        if made.sum() >= LEAST_SHARE * count:
            return torch.from_numpy(made)
    return usable & (torch.rand(usable.shape, generator=generator) < share)


def disc_radius(lost: Mask, count: float) -> int:
    """Radius of the discs, pixels, that are as deep as the holes on average, and of which FEWEST have at most `count` pixels."""
    if not lost.any():
        return 0
    padded = np.pad(lost, 1, mode="edge").astype(np.uint8)  # beyond the border the hole goes on
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1][lost].mean() if not lost.all() else 0.0
    wanted = (float(depth) - _DEPTH_OF_PIXEL) / _DEPTH_OF_RADIUS
    return int(max(0.0, min(wanted, math.sqrt(count / (FEWEST * math.pi)))))


def _disc(radius: int) -> NDArray[np.uint8]:
    side = np.arange(-radius, radius + 1)
    return (side[:, None] ** 2 + side**2 <= radius**2).astype(np.uint8)


def _centres(usable: Mask, radius: int) -> NDArray[np.int64]:
    """Flat indices of the pixels round which a whole disc is usable."""
    inner = cv2.erode(usable.astype(np.uint8), _disc(radius), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.flatnonzero(inner)


def _discs(centres: NDArray[np.int64], shape: tuple[int, ...], radius: int, count: float) -> Mask:
    """Discs round the first of the centres, each a radius away from the others, until they have `count` pixels."""
    width = shape[1]
    taken, made, disc, left = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_), _disc(radius) > 0, count
    for row, column in zip(*np.divmod(centres, width), strict=True):
        if taken[row, column]:
            continue
        apart = 3 * radius
        taken[max(0, row - apart) : row + apart + 1, max(0, column - apart) : column + apart + 1] = True
        made[row - radius : row + radius + 1, column - radius : column + radius + 1] |= disc
        left -= disc.sum()
        if left <= 0:
            break
    return made
