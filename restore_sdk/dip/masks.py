"""Which pixels are to be filled: masks as users have them, of either polarity. Loads no PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import MaskError, RestoreWarning

MOST_FILLED = 0.8  # share of the pixels; a mask that marks more of them is likely one of the other polarity
_WHITE = 255


class MaskWarning(RestoreWarning):
    """A mask that may be of the other polarity."""


def checked_mask(mask: NDArray[Any] | None, sides: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool, True where pixels are to be filled. Raises MaskError, which says of the other polarity what it looks like."""
    if mask is None:
        raise MaskError("'dip-inpaint' needs a mask; pass mask=, (H, W), True or 255 where pixels are to be filled")
    if not isinstance(mask, np.ndarray):
        raise MaskError(f"the mask is a {type(mask).__name__}, expected a numpy array (H, W); pass np.asarray(mask)")
    flat = mask[..., 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask
    if flat.shape != sides:
        raise MaskError(f"the mask has shape {mask.shape}, the image is {sides[0]} x {sides[1]} pixels; give both one size")
    fill = flat if flat.dtype == np.bool_ else _thresholded(flat)
    if fill.all() or not fill.any():
        what = "every pixel" if fill.all() else "no pixel"
        raise MaskError(
            f"the mask marks {what}, expected some to be filled and some to fill them from; True or 255 is what is to be filled: "
            "if yours marks what is to be kept, pass mask == 0"
        )
    if (share := float(fill.mean())) > MOST_FILLED:
        said = f"{share:.0%} of the pixels are to be filled; is the mask inverted? pass mask == 0"
        warnings.warn(said, MaskWarning, stacklevel=2)
    return fill


def _thresholded(mask: NDArray[Any]) -> NDArray[np.bool_]:
    values = np.unique(mask) if mask.dtype == np.uint8 else None
    if values is None or not set(values.tolist()) <= {0, _WHITE}:
        found = mask.dtype if values is None else f"values such as {values[(values > 0) & (values < _WHITE)][0]}"
        raise MaskError(f"the mask has {found}, expected bool, or uint8 of 0 and 255; pass for example mask > 127")
    return np.asarray(mask == _WHITE)
