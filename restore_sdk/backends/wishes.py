"""What may be asked of a backend, in words that are looked at before any runtime and the code around it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

from restore_sdk.errors import BackendError

Api: TypeAlias = Literal["tensorrt", "tensorrt_rtx"]
Build: TypeAlias = Literal["wait", "background", "never"]
Finite: TypeAlias = Literal["raise", "fallback", "ignore"]
OnProgress: TypeAlias = Callable[[float, str], None]  # (fraction of the work in [0, 1], what is being done)

APIS: tuple[Api, ...] = get_args(Api)
BUILDS: tuple[Build, ...] = get_args(Build)
POLICIES: tuple[Finite, ...] = get_args(Finite)

PLAN_SUFFIX, PROGRAM_SUFFIX = ".plan", ".pt2"  # of TensorRT's files, and of PyTorch's; every other file is taken for ONNX


class BuildCancelledError(BackendError):
    """The build was stopped on request; nothing was made."""

    def __init__(self) -> None:
        super().__init__("the build was cancelled; run it again to start over")
