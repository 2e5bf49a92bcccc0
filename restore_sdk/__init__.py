"""restore-sdk: restore images with models trained without clean targets.

>>> from restore_sdk import Restorer
>>> with Restorer("denoise") as restorer:
...     restored = restorer(image)  # numpy in, numpy out

Public names load when they are first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from restore_sdk.backends.base import Backend
    from restore_sdk.backends.function import FunctionBackend
    from restore_sdk.dip.options import DipOptions
    from restore_sdk.errors import (
        BackendError,
        DeviceMemoryError,
        DeviceUnavailableError,
        EngineBuildError,
        ImageError,
        ImageReadError,
        ImageShapeError,
        ImageTypeError,
        ImageValueError,
        ImageWriteError,
        MaskError,
        MissingExtraError,
        ModelDamagedError,
        ModelError,
        ModelHashError,
        ModelNotFoundError,
        ModelSpecError,
        OptionsError,
        RestoreError,
        RestorerClosedError,
        RestoreWarning,
        TilingError,
    )
    from restore_sdk.image_files import FileReport
    from restore_sdk.options import TileOptions
    from restore_sdk.restorer import Restorer
    from restore_sdk.spec import ModelSpec
    from restore_sdk.stream.errors import StreamError
    from restore_sdk.zoo.registry import list_models

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "BackendError",
    "DeviceMemoryError",
    "DeviceUnavailableError",
    "DipOptions",
    "EngineBuildError",
    "FileReport",
    "FunctionBackend",
    "ImageError",
    "ImageReadError",
    "ImageShapeError",
    "ImageTypeError",
    "ImageValueError",
    "ImageWriteError",
    "MaskError",
    "MissingExtraError",
    "ModelDamagedError",
    "ModelError",
    "ModelHashError",
    "ModelNotFoundError",
    "ModelSpec",
    "ModelSpecError",
    "OptionsError",
    "RestoreError",
    "RestoreWarning",
    "Restorer",
    "RestorerClosedError",
    "StreamError",
    "TileOptions",
    "TilingError",
    "list_models",
]

_HOMES = {
    "Backend": "restore_sdk.backends.base",
    "DipOptions": "restore_sdk.dip.options",
    "FileReport": "restore_sdk.image_files",
    "FunctionBackend": "restore_sdk.backends.function",
    "ModelSpec": "restore_sdk.spec",
    "Restorer": "restore_sdk.restorer",
    "StreamError": "restore_sdk.stream.errors",
    "TileOptions": "restore_sdk.options",
    "list_models": "restore_sdk.zoo.registry",
}  # every other public name is an error


def __getattr__(name: str) -> object:
    """Load a public name from where it lives (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "restore_sdk.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
