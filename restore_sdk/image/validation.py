"""What restore() refuses: each refusal says what was got, what was wanted and how to convert it."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import ImageShapeError, ImageTypeError, ImageValueError, RestoreWarning

WHITE = {"u1": 255, "u2": 65535, "f2": 1, "f4": 1}  # the value of 1.0 for each dtype that an image may have, in either byte order

MOST_PIXELS = 1 << 36  # of an array; files have no such limit

FAR_ABOVE_WHITE = 16.0  # no noise on an image in [0, 1] reaches it

_STRIP = 1 << 18  # values looked at in one go: the mask of finite values never grows with the image

_FOREIGN = {
    "torch": "pass image.permute(1, 2, 0).cpu().numpy() for a (3, H, W) tensor",
    "tensorflow": "pass image.numpy()",
    "cupy": "pass image.get()",
    "PIL": "pass np.asarray(image)",
    "builtins": "pass np.asarray(image, dtype=np.uint8)",
}
_NO_IMAGE = "cv2.imread returns None for a file that it cannot read: check the path"
_A_FILE = "for a file call restore_file(source, target)"
_TYPE_REMEDY = {
    "b": "pass image.astype(np.uint8) * 255",
    "f": "pass image.astype(np.float32), white = 1.0",
    "i": "pass image.astype(np.uint8) where white is 255, image.astype(np.uint16) where it is 65535",
    "u": "pass image.astype(np.uint8) where white is 255, image.astype(np.uint16) where it is 65535",
    "c": "pass np.abs(image).astype(np.float32)",
}


def check_array(image: object) -> NDArray[Any]:
    """`image` itself if it is a plain array. Raises ImageTypeError."""
    if not isinstance(image, np.ndarray):
        if image is None or isinstance(image, str | os.PathLike):
            raise ImageTypeError(f"{image!r}", "a numpy array", _NO_IMAGE if image is None else _A_FILE)
        kind = type(image)
        remedy = _FOREIGN.get(kind.__module__.partition(".")[0], "pass np.asarray(image)")
        raise ImageTypeError(f"a {kind.__module__}.{kind.__qualname__}", "a numpy array", remedy)
    if type(image) is not np.ndarray and isinstance(image, np.ma.MaskedArray):
        raise ImageTypeError(
            "a masked array", "a plain numpy array", "pass image.filled(0), and to 'dip-inpaint' the mask as mask="
        )
    return image


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Accept uint8, uint16, float16 and float32 in either byte order. Raises ImageTypeError."""
    if f"{dtype.kind}{dtype.itemsize}" not in WHITE:
        raise ImageTypeError(f"of dtype {dtype}", remedy=_TYPE_REMEDY.get(dtype.kind, ""))


def check_shape(shape: tuple[int, ...], min_size: int) -> None:
    """Accept (H, W), (H, W, 1), (H, W, 3), (H, W, 4) with H, W >= min_size. Raises ImageShapeError."""
    if len(shape) not in (2, 3):
        raise ImageShapeError(shape, "(H, W), (H, W, 1), (H, W, 3) or (H, W, 4)", _axes_remedy(shape))
    if 0 in shape:
        raise ImageShapeError(shape, "at least one pixel on each axis", "the array is empty: check how it was cut or read")
    if len(shape) == 3 and shape[2] not in (1, 3, 4):
        raise ImageShapeError(shape, "1, 3 or 4 channels on the last axis", _channels_remedy(shape))
    if min(shape[:2]) < min_size:
        raise ImageShapeError(shape, f"at least {min_size} x {min_size} pixels", "pad or enlarge it before restore()")


def check_count(shape: tuple[int, ...]) -> None:
    """Refuse more pixels than any array holds; one that repeats the same few would be looked at for hours. Raises
    ImageShapeError."""
    if shape[0] * shape[1] > MOST_PIXELS:
        raise ImageShapeError(shape, f"at most {MOST_PIXELS} pixels", "restore a file of that size with restore_file()")


def check_finite(image: NDArray[Any]) -> None:
    """Raises ImageValueError with the count of NaN and infinite values, if there are any."""
    rows = max(1, _STRIP * len(image) // image.size)
    count = sum(
        strip.size - int(np.count_nonzero(np.isfinite(strip)))
        for strip in (image[top : top + rows] for top in range(0, len(image), rows))
    )
    if count:
        raise ImageValueError(count)


def warn_of_scale(image: NDArray[Any]) -> None:
    """Warn with RestoreWarning of floats so far above white that clipping would leave a white image: they count to 255."""
    highest = float((image[..., :3] if image.ndim == 3 else image).max())  # alpha is not clipped
    if highest > FAR_ABOVE_WHITE:
        warnings.warn(
            f"float values reach {highest:g} and white is 1.0, so the result is clipped to white there; divide the image "
            "by its own white (255 or 65535), or pass clip=False if the values are meant",
            RestoreWarning,
            stacklevel=4,
        )


def _axes_remedy(shape: tuple[int, ...]) -> str:
    if len(shape) == 4:
        return "pass one image at a time, for example restore_many(images)"
    return "reshape it to (height, width)" if len(shape) < 2 else "drop the extra axes, for example np.squeeze(image)"


def _channels_remedy(shape: tuple[int, ...]) -> str:
    if shape[2] == 2:
        return "for gray with alpha pass image[..., 0]"
    if shape[0] in (1, 3, 4) and shape[2] > 4 * shape[0]:
        return "the channels seem to come first: pass image.transpose(1, 2, 0)"
    return "pass three of the channels, for example image[..., :3]"
