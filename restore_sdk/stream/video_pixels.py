"""Between decoded frames and RGB pixels in float: FFmpeg's scaler with exact rounding, so that no 8-bit step lies on the way."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_sdk.extras import require
from restore_sdk.stream.video_codecs import Encoding
from restore_sdk.stream.video_facts import VideoFacts

PLANAR_FLOAT = "gbrpf32le"
LARGEST_SD = 576  # lines; untagged video up to there is BT.601, above BT.709, as players have it

# H.273 matrix -> the scaler's coefficients: BT.709, FCC, BT.601 (twice), SMPTE 240M, BT.2020 (constant luminance as the other)
_COEFFICIENTS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


def coefficients(matrix: int, height: int) -> int:
    """The scaler's number for a matrix of H.273 and a picture of `height` lines."""
    return _COEFFICIENTS.get(matrix, 1 if height > LARGEST_SD else 5)


class PixelReader:
    """Decoded frames as (H, W, 3) float32 RGB in [0, 1], upright."""

    def __init__(self, facts: VideoFacts) -> None:
        self._facts = facts
        self._scaler, self._flags = _scaler()

    def read(self, frame: Any) -> NDArray[np.float32]:
        facts = self._facts
        planar = self._scaler.reformat(
            frame,
            format=PLANAR_FLOAT,
            src_colorspace=coefficients(facts.colour.matrix, facts.height),
            src_color_range=facts.colour.range,
            dst_color_range=2,
            interpolation=self._flags,
            threads=1,
        )
        green, blue, red = (_plane(plane, planar.width) for plane in planar.planes)
        pixels = np.asarray(cv2.merge([red, green, blue]), np.float32)
        pixels = pixels[:, ::-1] if facts.mirrored else pixels
        return np.rot90(pixels, facts.rotation // 90) if facts.rotation else pixels


class FrameWriter:
    """RGB pixels as the frames that an encoder of `encoding` takes.

    sample  a decoded frame of the source: where its chroma samples lie goes with it, and nobody else can tell
    """

    def __init__(self, sample: Any, encoding: Encoding) -> None:
        self._encoding = encoding
        self._scaler, self._flags = _scaler()
        width, height = encoding.width, encoding.height
        self._planar = _scaler()[0].reformat(sample, width=width, height=height, format=PLANAR_FLOAT)
        self._planar.color_range = 2
        self._matrix = coefficients(encoding.colour.matrix, height)

    def write(self, pixels: NDArray[np.float32], pts: int, duration: int) -> Any:
        for plane, channel in zip(self._planar.planes, (1, 2, 0), strict=True):
            _plane(plane, self._planar.width)[...] = pixels[..., channel]
        colour = self._encoding.colour
        frame = self._scaler.reformat(
            self._planar,
            format=self._encoding.format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=2,
            dst_color_range=colour.range or 1,
            interpolation=self._flags,
            threads=1,
        )
        frame.pict_type = 0  # the sample's, or every picture would become a keyframe
        frame.pts, frame.duration, frame.time_base = pts, duration, self._encoding.time_base
        frame.color_range, frame.colorspace = colour.range, colour.matrix
        frame.color_trc, frame.color_primaries = colour.transfer, colour.primaries
        return frame


def _scaler() -> tuple[Any, Any]:
    reformatter = require("av.video.reformatter", "video")
    flags = reformatter.Interpolation
    return reformatter.VideoReformatter(), flags.BICUBIC | flags.ACCURATE_RND


def _plane(plane: Any, width: int) -> NDArray[np.float32]:
    return np.frombuffer(plane, np.float32).reshape(plane.height, -1)[:, :width]
