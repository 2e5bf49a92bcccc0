"""Masks that a hand could have drawn: brush strokes and writing. Random numbers of theta, drawn by OpenCV."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_sdk.degradations.draws import uniform
from restore_sdk.degradations.masks import Mask
from restore_sdk.degradations.parameters import check_number, check_whole
from restore_sdk.degradations.theta import Shape

Canvas = NDArray[np.uint8]  # (H, W), white where pixels are lost
_WHITE = 255
_SEGMENTS = 6  # of a stroke
_TURN = 0.9  # radians, the largest turn between two segments
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL = 21  # pixels, the height of its capitals at scale 1
_LETTERS = string.ascii_letters + " " * 10


@dataclass(frozen=True)
class BrushStrokes(Mask):
    """Winding strokes of a round brush are lost, as when something was painted out.

    strokes: how many; width: of the brush, length: of a stroke, both as shares of the shorter side (at least a pixel wide).
    """

    name: ClassVar[str] = "brush-strokes"
    strokes: int = 4
    width: float = 0.06
    length: float = 0.9
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_whole("strokes", self.strokes, 0, 1000)
        check_number("width", self.width, 0, 1)
        check_number("length", self.length, 0, 10)
        check_number("fill", self.fill, 0, 1)

    def _keep(self, shape: Shape, rng: torch.Generator) -> Tensor:
        drawn = uniform((shape[0], self.strokes, 3 + _SEGMENTS), rng, rng.device).cpu().numpy()
        return _kept([self._painted(shape[2], shape[3], strokes) for strokes in drawn], rng.device)

    def _painted(self, height: int, width: int, strokes: NDArray[Any]) -> Canvas:
        canvas, side = np.zeros((height, width), np.uint8), min(height, width)
        for stroke in strokes:
            points = _path(stroke, height, width, self.length * side / _SEGMENTS)
            cv2.polylines(canvas, [points], isClosed=False, color=_WHITE, thickness=max(1, round(self.width * side)))
        return canvas


def _path(stroke: NDArray[Any], height: int, width: int, step: float) -> NDArray[np.int32]:
    """Corners (x, y) of a path that starts anywhere, in any direction, and winds; pixels."""
    turns = np.concatenate([stroke[2:3] * 2 * np.pi, (stroke[4:] * 2 - 1) * _TURN]).cumsum()
    steps = step * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    start = stroke[:2] * (width, height)
    corners = np.concatenate([start[None], start + steps.cumsum(axis=0)])
    return np.asarray(np.rint(corners), np.int32)


@dataclass(frozen=True)
class Text(Mask):
    """Lines of random letters over the whole image are lost, as under a caption or a watermark.

    height: of a capital, about, as a share of the image's height (at least 5 pixels); spacing: from line to line, in heights. The
    letters are those of the installed OpenCV, and so change with its major version; a recorded theta does not.
    """

    name: ClassVar[str] = "text"
    height: float = 0.07
    spacing: float = 2.0
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_number("height", self.height, 0, 1)
        check_number("spacing", self.spacing, 1, 100)
        check_number("fill", self.fill, 0, 1)

    def _keep(self, shape: Shape, rng: torch.Generator) -> Tensor:
        count, _, height, width = shape
        capital = max(5.0, self.height * height)
        lines, letters = int(height // (self.spacing * capital)) + 2, int(3 * width // capital) + 4
        drawn = uniform((count, lines, 1 + letters), rng, rng.device).cpu().numpy()
        return _kept([self._written(height, width, capital, image) for image in drawn], rng.device)

    def _written(self, height: int, width: int, capital: float, lines: NDArray[Any]) -> Canvas:
        canvas, start = np.zeros((height, width), np.uint8), lines[0, 0]
        thickness = max(1, round(capital / 8))
        for row, line in enumerate(lines):
            letters = "".join(_LETTERS[int(number * len(_LETTERS))] for number in line[1:])
            origin = (round(-line[0] * capital), round((row + start) * self.spacing * capital))
            cv2.putText(canvas, letters, origin, _FONT, capital / _CAPITAL, _WHITE, thickness, cv2.LINE_8)
        return canvas


def _kept(lost: list[Canvas], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(lost) <= _WHITE // 2)[:, None].to(device)
