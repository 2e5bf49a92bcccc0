"""A before | after strip: both pictures side by side, and beneath them the most telling region, enlarged without smoothing."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from restore_sdk.errors import ImageWriteError
from restore_sdk.image.atomic import write_atomically

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

PANEL_WIDTH, PANEL_HEIGHT = 640, 800  # largest panel, pixels
SMALLEST_PANEL = 320  # smaller pictures are enlarged by a whole factor
ZOOM = 4  # enlargement of the crop
SCORED_PIXELS = 1_000_000  # larger pictures are searched at a reduced size
SMALLEST_CROPPED = 160  # pictures below this side are enlarged already: no crop row
MARGIN, DIVIDER, HEADER, CAPTION = 24, 6, 52, 36
BACKGROUND, DIVIDER_COLOUR = (22, 24, 29), (22, 24, 29)
BEFORE_COLOUR, AFTER_COLOUR, CAPTION_COLOUR, FRAME_COLOUR = (160, 167, 180), (255, 255, 255), (140, 147, 160), (255, 196, 61)


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle in pixels of the picture."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, picture: Picture) -> Picture:
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]


def compare_strip(before: NDArray[Any], after: NDArray[Any]) -> Picture:
    """Picture (H, W, 3) uint8 RGB of `before` beside `after`.

    Both HxW, HxWx1, HxWx3 or HxWx4, uint8, uint16, or float in [0, 1], RGB(A) order, at most a scale apart: the smaller one is
    enlarged to the other. Alpha is laid over mid-grey. Panels are at most 640 x 800 pixels.
    """
    first, second = displayable(before), displayable(after)
    first = _resized(first, second.shape[1], second.shape[0])
    size = panel_size(second.shape[1], second.shape[0])
    region = telling_region(first, second, *crop_size(second, size))
    rows = [_pair(_framed(first, size, region), _framed(second, size, region))]
    if region is not None:
        rows.append(_pair(*(_resized(region.cut(picture), *_enlarged(region, size)) for picture in (first, second))))
    return _labelled(rows, _caption(second, region, size))


def write_strip(path: Path, before: NDArray[Any], after: NDArray[Any]) -> None:
    """Write `compare_strip(before, after)` as PNG; the file appears whole or not at all. Raises ImageWriteError."""
    encoded = io.BytesIO()
    Image.fromarray(compare_strip(before, after)).save(encoded, format="PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ImageWriteError(path, f"its folder cannot be made ({exc.strerror or exc}); name another --compare") from exc
    write_atomically(path, [encoded.getvalue()], overwrite=True)


def displayable(image: NDArray[Any]) -> Picture:
    """Any image of the SDK as (H, W, 3) uint8 RGB for the screen; values are scaled and clipped, alpha is laid over mid-grey."""
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return np.ascontiguousarray(image)
    pixels = _unit_range(image if image.ndim == 3 else image[:, :, np.newaxis])
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3:]
        pixels = pixels[:, :, :3] * alpha + np.float32(0.5) * (1 - alpha)
    levels = np.rint(pixels * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:2], 3)))


def _unit_range(image: NDArray[Any]) -> NDArray[np.float32]:
    top = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1
    unit: NDArray[np.float32] = np.clip(image.astype(np.float32) / np.float32(top), 0, 1)
    return unit


def panel_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) at which a picture is shown: reduced to fit, or enlarged by a whole factor if it is tiny."""
    reduction = min(1.0, PANEL_WIDTH / width, PANEL_HEIGHT / height)
    factor = max(1, min(SMALLEST_PANEL // width, PANEL_HEIGHT // height))
    scale = reduction if reduction < 1 else factor
    return max(1, round(width * scale)), max(1, round(height * scale))


def crop_size(picture: Picture, panel: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the region that fills the panel's width at ZOOM times; (0, 0) where no crop is worth while."""
    height, width = picture.shape[:2]
    if min(height, width) < SMALLEST_CROPPED:
        return 0, 0
    crop_width = min(panel[0] // ZOOM, width)
    return min(height, max(1, round(crop_width * 0.62))), crop_width


def telling_region(before: Picture, after: Picture, height: int, width: int) -> Region | None:
    """The height x width region where most was changed and most detail lies; None if height or width is 0.

    Score of a window: (mean |before - after|) x sqrt(mean gradient of the result), both on luminance: flat sky has noise but
    no detail to judge by, a sharp edge without noise shows nothing.
    """
    if not height or not width:
        return None
    first, second = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after))
    shrink = max(1, math.isqrt(second.size // SCORED_PIXELS))
    change, shape = (_shrunk(values, shrink) for values in (cv2.absdiff(first, second), second))
    smooth = cv2.GaussianBlur(shape, (0, 0), 1.0)
    gradient = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    window = max(1, height // shrink), max(1, width // shrink)
    score = _window_means(change, *window) * np.sqrt(_window_means(gradient, *window))
    top, left = np.unravel_index(int(np.argmax(score)), score.shape)
    rows, columns = second.shape
    return Region(min(int(top) * shrink, rows - height), min(int(left) * shrink, columns - width), height, width)


def _shrunk(values: NDArray[Any], factor: int) -> NDArray[np.float32]:
    size = max(1, values.shape[1] // factor), max(1, values.shape[0] // factor)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def _window_means(values: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    """Mean over every window that lies inside: (H - height + 1, W - width + 1)."""
    sums = np.asarray(cv2.integral(values, sdepth=cv2.CV_64F), np.float64)
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    return np.maximum(inside, 0) / (height * width)


def _resized(picture: Picture, width: int, height: int) -> Picture:
    if picture.shape[:2] == (height, width):
        return picture
    shrinking = width < picture.shape[1]
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_NEAREST)
    return resized.astype(np.uint8, copy=False)


def _enlarged(region: Region, panel: tuple[int, int]) -> tuple[int, int]:
    return panel[0], round(region.height * panel[0] / region.width)


def _framed(picture: Picture, size: tuple[int, int], region: Region | None) -> Picture:
    """The panel, with the region that is enlarged below drawn as a thin frame."""
    panel = _resized(picture, *size).copy()
    if region is not None:
        scale = size[0] / picture.shape[1]
        corner = (round(region.left * scale), round(region.top * scale))
        end = (round((region.left + region.width) * scale) - 1, round((region.top + region.height) * scale) - 1)
        cv2.rectangle(panel, corner, end, FRAME_COLOUR, 2)
    return panel


def _pair(before: Picture, after: Picture) -> Picture:
    divider = np.full((before.shape[0], DIVIDER, 3), DIVIDER_COLOUR, np.uint8)
    return np.concatenate([before, divider, after], axis=1)


def _caption(picture: Picture, region: Region | None, size: tuple[int, int]) -> str:
    height, width = picture.shape[:2]
    shown = size[0] / width
    scale = "" if shown == 1 else f", shown at {shown:.0%}"
    enlarged = "" if region is None else f"  |  below: the framed region, {size[0] / region.width:.3g}x"
    return f"{width} x {height} pixels{scale}{enlarged}"


def _labelled(rows: list[Picture], caption: str) -> Picture:
    """Rows on the background, with "Before" and "After" above each half and the caption below."""
    width = rows[0].shape[1] + 2 * MARGIN
    height = HEADER + sum(row.shape[0] + DIVIDER for row in rows) - DIVIDER + CAPTION + MARGIN // 2
    canvas = Image.new("RGB", (width, height), BACKGROUND)
    top = HEADER
    for row in rows:
        canvas.paste(Image.fromarray(row), (MARGIN, top))
        top += row.shape[0] + DIVIDER
    _write_labels(canvas, rows[0].shape[1], caption)
    return np.asarray(canvas).copy()


def _write_labels(canvas: Image.Image, row_width: int, caption: str) -> None:
    draw = ImageDraw.Draw(canvas)
    half = (row_width + DIVIDER) // 2
    for left, text, colour in ((MARGIN, "Before", BEFORE_COLOUR), (MARGIN + half, "After", AFTER_COLOUR)):
        draw.text((left, HEADER // 2), text, fill=colour, font=ImageFont.load_default(24), anchor="lm")
    caption_middle = canvas.height - (CAPTION + MARGIN // 2) // 2
    draw.text((MARGIN, caption_middle), caption, fill=CAPTION_COLOUR, font=ImageFont.load_default(15), anchor="lm")
