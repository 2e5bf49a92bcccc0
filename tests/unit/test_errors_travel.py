"""Errors cross from one process to another as they were raised."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from restore_sdk import errors
from restore_sdk.degradations.errors import CorruptionSpecError
from restore_sdk.restorer import Restorer
from restore_sdk.stream.errors import StreamError, VideoReadError

EXAMPLES = [
    errors.RestoreError("a"),
    errors.ImageShapeError((1, 2), "(H, W)"),
    errors.ImageTypeError("int64"),
    errors.ImageValueError(3),
    errors.ImageReadError("a.png", "it is empty"),
    errors.ImageWriteError(Path("a.png"), "it exists"),
    errors.MaskError("no mask"),
    errors.OptionsError("tile", 3, "more"),
    errors.ModelNotFoundError("x", ["denoise"]),
    errors.ModelDamagedError("m.onnx", "cut off", kind="model"),
    errors.ModelHashError("m.onnx", "a", "b"),
    errors.ModelSpecError("no spec"),
    errors.TilingError(["GlobalAveragePool"], "pass None"),
    errors.BackendError("failed", ["line 1", "line 2"]),
    errors.DeviceUnavailableError("cuda", ["cpu"], "pass cpu"),
    errors.EngineBuildError("no layer", "export again", node="n", operator="Conv", log=["l"]),
    errors.DeviceMemoryError(2, 1, (64, 64)),
    errors.MissingExtraError("av", "video"),
    errors.RestorerClosedError(),
    StreamError(7, "restore", ValueError("inner")),
    VideoReadError("a.mp4", "no video"),
]


def described(error: BaseException) -> tuple[object, ...]:
    attributes = {name: repr(value) for name, value in vars(error).items()}
    return type(error), str(error), error.args, attributes


def test_every_error_has_an_example() -> None:
    kinds = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.RestoreError)}
    assert kinds - {type(error) for error in EXAMPLES} == {errors.ImageError, errors.ModelError}  # roots, never raised


@pytest.mark.parametrize("error", [*EXAMPLES, CorruptionSpecError("x", "no such")], ids=lambda error: type(error).__name__)
def test_type_text_and_attributes_survive(error: errors.RestoreError) -> None:
    for travelled in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 our own bytes
        assert described(travelled) == described(error)
        assert isinstance(travelled, type(error).__bases__)


def test_what_cannot_travel_comes_as_text() -> None:
    error = errors.OptionsError("on_tile", lambda: None, "nothing")
    assert "lambda" in pickle.loads(pickle.dumps(error)).got  # noqa: S301


def open_missing(path: str) -> None:
    raise errors.ImageReadError(path, "there is no such file")


def test_a_pool_hands_the_error_on() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.raises(errors.ImageReadError, match="no such file") as caught,
    ):
        pool.submit(open_missing, "a.png").result(timeout=60)
    assert caught.value.path == Path("a.png")


def test_a_restorer_is_neither_copied_nor_pickled(restorer: Restorer) -> None:
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="open one in each process"):
            way(restorer)  # type: ignore[operator]
