"""How a fit went, as a picture: the curves above, a strip of iterates below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from restore_sdk.dip.choosing import LEAST_NOISE
from restore_sdk.dip.results import DipOutcome, FitResult, Planes
from restore_sdk.dip.stopping import DiscrepancyPolicy

Colour: TypeAlias = tuple[int, int, int]
Points: TypeAlias = Sequence[tuple[int, float]]

WIDTH, PLOT_HEIGHT, MARGIN, LEFT = 1100, 360, 24, 76
PANEL = 250  # side of a picture in the strip, pixels
PANELS = 4
BACKGROUND, GRID, TEXT = (22, 24, 29), (52, 56, 66), (200, 205, 214)
LOSS, SCORE, HELD_OUT, MARK = (106, 176, 255), (255, 176, 82), (130, 214, 130), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Curve:
    """A named line of positive values over iterations."""

    name: str
    colour: Colour
    points: Points


def trace_picture(outcome: DipOutcome) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: loss, held-out error and the stopping score of the fit that took longest, on a logarithmic scale each
    of its own range, and means of the iterates on the way to the result and its uncertainty."""
    fit = max(outcome.fits, key=lambda one: one.iterations)
    canvas = Image.new("RGB", (WIDTH, PLOT_HEIGHT + PANEL + 4 * MARGIN + 56), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    _write(draw, (MARGIN, 12), _headline(outcome, fit), 17)
    _plot(draw, fit, curves_of(fit, outcome.sigma))
    _strip(canvas, fit, outcome, PLOT_HEIGHT + 2 * MARGIN + 48)
    return np.asarray(canvas).copy()


def curves_of(fit: FitResult, sigma: float | None = None) -> list[Curve]:
    """What was recorded of the fit; values that are not positive have no place on a logarithmic scale. `sigma`: what the
    discrepancy was held against, as DipOutcome has it."""
    points, score = fit.trajectory, _score_name(fit, sigma)
    curves = [
        Curve("loss", LOSS, [(point.iteration, point.loss) for point in points]),
        Curve("held-out error", HELD_OUT, [(point.iteration, point.held_out) for point in points]),
        Curve(f"score ({score})", SCORE, [(point.iteration, point.score or 0.0) for point in points]),
    ]
    kept = [Curve(c.name, c.colour, [(x, y) for x, y in c.points if y > 0 and math.isfinite(y)]) for c in curves]
    same = {"held-out": "held-out error", "none": "loss"}.get(fit.policy)  # its score is drawn already
    return [curve for curve in kept if curve.points and not (same and curve.colour == SCORE)]


def _score_name(fit: FitResult, sigma: float | None) -> str:
    """What the score is. Where the discrepancy's fallback has stopped the fit, the policy is another, but not the score."""
    return fit.policy if sigma is None or sigma < LEAST_NOISE else DiscrepancyPolicy.score_name


def _headline(outcome: DipOutcome, fit: FitResult) -> str:
    tiles = "" if len(outcome.fits) == 1 else f"{len(outcome.fits)} tiles, the longest: "
    again = f", {fit.rollbacks} rollbacks" if fit.rollbacks else ""
    ended = f"best at {fit.best_iteration}, ended by {fit.stop_reason}, {outcome.seconds:.1f} s"
    return f"{tiles}{fit.iterations} iteration{'s' * (fit.iterations != 1)}, {ended}{again}"


def _plot(draw: ImageDraw.ImageDraw, fit: FitResult, curves: Sequence[Curve]) -> None:
    box = (LEFT, MARGIN + 40, WIDTH - MARGIN, MARGIN + 20 + PLOT_HEIGHT)
    last = max(fit.iterations, 2)
    draw.rectangle(box, outline=GRID)
    for tick in _ticks(last):
        x = _across(tick, last, box)
        draw.line([(x, box[1]), (x, box[3])], fill=GRID)
        _write(draw, (x, box[3] + 12), str(tick), 13, anchor="mm")
    _write(draw, ((box[0] + box[2]) / 2, box[3] + 28), "iteration; each curve has its own logarithmic scale", 12, anchor="mm")
    for number, curve in enumerate(curves):
        low, high = _decades(curve.points)
        line = [(_across(x, last, box), _up(y, (low, high), box)) for x, y in curve.points]
        draw.line(line, fill=curve.colour, width=2) if len(line) > 1 else draw.circle(line[0], 3, fill=curve.colour)
        if number == 0:
            _label_decades(draw, (low, high), box)
        _write(
            draw,
            (box[2] - 12, box[1] + 16 + 20 * number),
            f"{curve.name}  {curve.points[-1][1]:.3g}",
            14,
            colour=curve.colour,
            anchor="rm",
        )
    x = _across(fit.best_iteration, last, box)
    draw.line([(x, box[1]), (x, box[3])], fill=MARK)
    _write(draw, (x, box[1] - 10), "best", 13, colour=MARK, anchor="mm")


def _strip(canvas: Image.Image, fit: FitResult, outcome: DipOutcome, top: int) -> None:
    draw = ImageDraw.Draw(canvas)
    iterates = [(f"iteration {at}", pixels) for at, pixels in fit.strip if at < fit.best_iteration][-(PANELS - 2) :]
    deviation = np.sqrt(outcome.variance.mean(0, keepdims=True))
    scale = float(deviation.max()) or 1.0
    shown = [*iterates, ("result", _bytes(outcome.image)), (f"uncertainty, white = {scale:.2g}", _bytes(deviation / scale))]
    left = MARGIN
    for caption, pixels in shown:
        panel = _panel(pixels)
        canvas.paste(panel, (left, top + 24))
        _write(draw, (left, top + 10), caption, 14, anchor="lm")
        left += PANEL + (WIDTH - 2 * MARGIN - PANELS * PANEL) // (PANELS - 1)


def _panel(pixels: NDArray[np.uint8]) -> Image.Image:
    colours = np.repeat(pixels, 3, 0) if len(pixels) == 1 else pixels
    picture = Image.fromarray(np.ascontiguousarray(colours.transpose(1, 2, 0)))
    scale = PANEL / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)


def _bytes(planes: Planes) -> NDArray[np.uint8]:
    return np.rint(np.clip(planes, 0, 1) * 255).astype(np.uint8)


def _ticks(last: int) -> list[int]:
    step = 10 ** int(math.log10(last))
    step = step // 5 if last / step < 2 and step >= 5 else step // 2 if last / step < 5 and step >= 2 else step
    return list(range(0, last + 1, max(1, step)))


def _decades(points: Points) -> tuple[float, float]:
    """log10 of the range, a little wider than the values."""
    values = [math.log10(y) for _, y in points]
    return min(values) - 0.05, max(values) + 0.05


def _label_decades(draw: ImageDraw.ImageDraw, limits: tuple[float, float], box: tuple[int, int, int, int]) -> None:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        value = 10 ** (limits[0] + share * (limits[1] - limits[0]))
        _write(draw, (box[0] - 8, _up(value, limits, box)), f"{value:.3g}", 13, colour=LOSS, anchor="rm")


def _across(iteration: int, last: int, box: tuple[int, int, int, int]) -> float:
    return box[0] + (box[2] - box[0]) * iteration / last


def _up(value: float, limits: tuple[float, float], box: tuple[int, int, int, int]) -> float:
    share = (math.log10(value) - limits[0]) / (limits[1] - limits[0])
    return box[3] - (box[3] - box[1]) * share


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: int, *, colour: Colour = TEXT, anchor: str = "la"
) -> None:
    draw.text(place, text, fill=colour, font=ImageFont.load_default(size), anchor=anchor)
