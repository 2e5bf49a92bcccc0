from __future__ import annotations

from pathlib import Path

import pytest

from restore_sdk import errors
from restore_sdk.cli.exit_codes import ExitCode, UsageError, combined, exit_code

PATH = Path("a.png")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroDivisionError("bug"), 1),
        (errors.RestorerClosedError(), 1),
        (UsageError("flags"), 2),
        (errors.OptionsError("tile", 3, "more"), 2),
        (errors.TilingError(["Softmax"], "use fast"), 2),
        (errors.MaskError("the model needs a mask"), 2),
        (errors.ImageReadError(PATH, "empty"), 3),
        (errors.ImageWriteError(PATH, "read-only"), 3),
        (errors.ImageShapeError((0, 4), "more pixels"), 3),
        (PermissionError(13, "denied"), 3),
        (errors.ModelNotFoundError("x", []), 4),
        (errors.ModelHashError(PATH, "0", "1"), 4),
        (errors.ModelDamagedError(PATH, "cut"), 4),
        (errors.ModelSpecError("none"), 4),
        (errors.DeviceUnavailableError("cuda", ["cpu"], "use cpu"), 5),
        (errors.MissingExtraError("onnxruntime", "cpu"), 5),
        (errors.BackendError("it broke"), 5),
        (errors.DeviceMemoryError(2, 1, (64, 64)), 7),
        (MemoryError(), 7),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_each_error_has_its_code(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("failures", "successes", "code"),
    [
        ([], 0, ExitCode.OK),
        ([], 3, ExitCode.OK),
        ([ExitCode.IMAGE], 0, ExitCode.IMAGE),
        ([ExitCode.IMAGE, ExitCode.IMAGE], 0, ExitCode.IMAGE),
        ([ExitCode.MEMORY], 0, ExitCode.MEMORY),
        ([ExitCode.IMAGE], 1, ExitCode.PARTIAL),
        ([ExitCode.IMAGE, ExitCode.MEMORY], 0, ExitCode.PARTIAL),
    ],
)
def test_several_files_come_to_one_code(failures: list[ExitCode], successes: int, code: ExitCode) -> None:
    assert combined(failures, successes) is code
