"""How noisy an image is, from the image alone."""

from __future__ import annotations

from torch import Tensor

_NORMAL = 0.6744897501960817  # median of |x| for a standard normal x
_FEWEST = 64  # differences below which there is nothing to estimate from


def noise_level(image: Tensor, known: Tensor | None = None) -> float:
    """Standard deviation of white noise in an image (C, H, W), in its units.

    The median of the absolute diagonal Haar coefficients over 0.6745 (Donoho and Johnstone 1994): edges are few and do not move
    a median. Texture does, so the channel with the least counts, and a picture that is textured everywhere is taken for noisier
    than it is. known: (1, H, W) bool, True where a value was measured;
    coefficients that touch another are left out. 0 where fewer than 64 are left.
    """
    corners = (slice(None, -1), slice(1, None))
    if min(image.shape[1:]) < 2:
        return 0.0
    usable = None
    if known is not None:
        first, second, third, fourth = (known[0, rows, columns] for rows in corners for columns in corners)
        usable = first & second & third & fourth
    medians = []
    for channel in image:  # one after the other: what this needs is a few times the size of one
        topleft, topright, lowleft, lowright = (channel[rows, columns] for rows in corners for columns in corners)
        diagonal = (topleft - topright - lowleft + lowright).abs_()
        values = diagonal.flatten() if usable is None else diagonal[usable]
        if len(values) < _FEWEST:
            return 0.0
        medians.append(float(values.median()) / 2)
    return min(medians) / _NORMAL
