"""`python -m training degrade`: what a corruption does to one image."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from restore_sdk.degradations import DegradationError, Recording, ThetaError, load_theta, parse, save_theta, seeded
from restore_sdk.degradations.conversions import batch_from_image, image_from_batch
from training.data.folder import DataError, decode
from training.engine.files import replacing

FAILED, BAD_INPUT = 1, 2
LOSSLESS = (".png", ".tif", ".tiff", ".bmp")
DEEP = (".png", ".tif", ".tiff")  # 16 bits
_THETA, _NOISE = 0, 1  # one generator for each, so that a replayed theta leaves the noise as it was


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked on the command line. seed None: 0, or the recorded one."""

    image: Path
    output: Path
    corruption: str | None = None
    seed: int | None = None
    strip: bool = False
    record: Path | None = None
    replay: Path | None = None


def run_command(request: Request) -> int:
    """Corrupt, write, print one line; the exit code. Every expected failure is one line on stderr."""
    try:
        sys.stdout.write(degrade(request) + "\n")
    except (DegradationError, DataError) as exc:
        return _end(exc, BAD_INPUT)
    except OSError as exc:
        return _end(exc, FAILED)
    return 0


def degrade(request: Request) -> str:
    """Write the corrupted image, and the recording if asked; returns what was done, in a line.

    Raises DegradationError, DataError, OSError.
    """
    image = _read(request.image)
    batch = batch_from_image(image)
    _check_outputs(request, image)
    recording = _recorded(request, batch) if request.replay else _drawn(request, batch)
    noise = seeded(int(recording.notes["seed"]), _NOISE)
    corrupted = image_from_batch(recording.operator.measure(batch, recording.theta, noise), image.dtype)
    _write(request.output, _side_by_side(image, corrupted) if request.strip else corrupted)
    if request.record:
        with replacing(request.record) as temporary:
            temporary.write_bytes(save_theta(recording))
    return f"{request.output}: {recording.operator.describe()}, seed {recording.notes['seed']}{_share(recording)}"


def _drawn(request: Request, batch: Tensor) -> Recording:
    if request.corruption is None:
        raise DegradationError(
            "no corruption was named; pass --corruption SPEC, for example remove-pixel:p=0.9, or --replay THETA"
        )
    operator, seed = parse(request.corruption), request.seed or 0
    return Recording(operator, operator.sample_theta(batch, seeded(seed, _THETA)), {"seed": seed})


def _recorded(request: Request, batch: Tensor) -> Recording:
    path = request.replay
    if path is None or not path.is_file():
        raise ThetaError(f"{path} is no file; pass one that --record wrote")
    recording = load_theta(path.read_bytes())
    if request.corruption is not None and parse(request.corruption) != recording.operator:
        raise ThetaError(f"{path} was recorded for {recording.operator.describe()}; leave --corruption out, or pass that")
    if tuple(batch.shape) != recording.theta.shape:
        raise ThetaError(
            f"{path} was recorded for images of {recording.theta.shape}, this one is {tuple(batch.shape)}; pass that image"
        )
    seed = recording.notes.get("seed", 0) if request.seed is None else request.seed
    if not isinstance(seed, int) or seed < 0:
        raise ThetaError(f"{path} holds the seed {seed!r}, expected an integer of at least 0; pass --seed")
    return Recording(recording.operator, recording.theta, {"seed": seed})


def _read(path: Path) -> NDArray[np.uint8 | np.uint16]:
    """(H, W, 3) RGB, or (H, W) where the three planes are equal."""
    image = decode(path)
    if image is None:
        raise DataError(f"{path} cannot be read as an image of 8 or 16 bits; pass a PNG, JPEG, TIFF, WebP or BMP file")
    gray = (image == image[:, :, :1]).all()
    return np.ascontiguousarray(image[:, :, 0]) if gray else image


def _check_outputs(request: Request, image: NDArray[Any]) -> None:
    for target in filter(None, (request.output, request.record)):
        if target.is_dir() or not target.parent.is_dir():
            raise DataError(f"{target} cannot be written: it is a folder, or its folder is missing; pass the name of a file")
    path = request.output
    known = LOSSLESS if image.dtype == np.uint8 else DEEP
    if path.suffix.lower() not in known:
        depth = 8 * image.dtype.itemsize
        raise DataError(
            f"{path}: {path.suffix or 'no suffix'} would change the {depth}-bit result; use one of {', '.join(known)}"
        )


def _write(path: Path, image: NDArray[Any]) -> None:
    ordered = image if image.ndim == 2 else np.ascontiguousarray(image[:, :, ::-1])
    _, data = cv2.imencode(path.suffix.lower(), ordered)
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _side_by_side(before: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
    """Before and after, a white line between; a smaller image is enlarged without smoothing."""
    height, width = before.shape[:2]
    enlarged = cv2.resize(after, (width, height), interpolation=cv2.INTER_NEAREST)
    line = np.full((height, 4, *before.shape[2:]), np.iinfo(before.dtype).max, before.dtype)
    return np.concatenate([before, line, enlarged], axis=1)


def _share(recording: Recording) -> str:
    kept = recording.operator.kept(recording.theta)
    return "" if kept is None else f", {kept.float().mean().item():.1%} kept"


def _end(error: Exception, code: int) -> int:
    sys.stderr.write(f"error: {error}\n")
    return code
