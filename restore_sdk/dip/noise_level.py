"""How noisy an image is, from the image alone."""

from __future__ import annotations

from torch import Tensor

_NORMAL = 0.6744897501960817  # median of |x| for a standard normal x
_FEWEST = 64  # differences below which there is nothing to estimate from


def noise_level(image: Tensor, known: Tensor | None = None) -> float:
    """Standard deviation of white noise in an image (C, H, W), in its units.

    The median of the absolute diagonal Haar coefficients over 0.6745 (Donoho and Johnstone 1994): edges are few and do not move
    a median. Texture does a little, so the channel with the least counts. known: (1, H, W) bool, True where a value was measured;
    coefficients that touch another are left out. 0 where fewer than 64 are left.
    """
    corners = (slice(None, -1), slice(1, None))
    if min(image.shape[1:]) < 2:
        return 0.0
    topleft, topright, lowleft, lowright = (image[:, rows, columns].double() for rows in corners for columns in corners)
    diagonal = (topleft - topright - lowleft + lowright).abs() / 2
    if known is not None:
        first, second, third, fourth = (known[0, rows, columns] for rows in corners for columns in corners)
        diagonal = diagonal[:, first & second & third & fourth]
    values = diagonal.flatten(1)
    if values.shape[1] < _FEWEST:
        return 0.0
    return float(values.median(1).values.min()) / _NORMAL
