"""Every error that restore_sdk raises on purpose.

RestoreError
|-- ImageError (also ValueError)      the image cannot be used
|   |-- ImageShapeError               .got .want
|   |-- ImageTypeError                .got .want
|   |-- ImageValueError               .count (NaN or infinite values)
|   |-- ImageReadError                .path .reason
|   `-- ImageWriteError               .path .reason
|-- MaskError (also ValueError)
|-- OptionsError (also ValueError)    .name .got .want
|-- ModelError
|   |-- ModelNotFoundError            .name .known
|   |-- ModelDamagedError             .path .reason
|   |-- ModelHashError                .path .got .want
|   `-- ModelSpecError                .reason
|-- TilingError                       .layers (operators that read the whole image)
|-- BackendError                      .log (the vendor's lines)
|   |-- DeviceUnavailableError        .requested .available
|   |-- EngineBuildError              .node .operator (of the ONNX graph, where known)
|   `-- DeviceMemoryError             .required .free .tile
|-- StreamError                       .frame .stage .cause: in restore_sdk.stream, with VideoReadError and VideoWriteError
|-- MissingExtraError (also ImportError)   .module .extra
|-- DegradationError (also ValueError)     in restore_sdk.degradations: a corruption, its parameters, or what it cannot do
`-- RestorerClosedError

RestoreWarning (a UserWarning) is what restore_sdk warns with: the result stands, but not quite as one might think.

Each message says what was got, what was wanted, and ends with the remedy.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class RestoreError(Exception):
    """Root of all deliberate errors of restore_sdk. A pool of processes hands them on whole: they can be pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived, (type(self), self.args, {name: _portable(value) for name, value in self.__dict__.items()})


def _revived(kind: type[RestoreError], args: tuple[object, ...], attributes: Mapping[str, object]) -> RestoreError:
    """The error as it was, without the making of its message."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


def _portable(value: object) -> object:
    """The value, or what it looks like if it cannot leave the process."""
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001 whatever a foreign object raises when it is pickled
        return repr(value)
    return value


class ImageError(RestoreError, ValueError):
    """An image, array or file, that cannot be restored."""


class ImageShapeError(ImageError):
    """Wrong number of axes or channels, an empty axis, or too few pixels."""

    def __init__(self, got: tuple[int, ...], want: str, remedy: str = "add, drop or slice axes before restore()") -> None:
        super().__init__(f"image has shape {got}, expected {want}; {remedy}")
        self.got, self.want = got, want


class ImageTypeError(ImageError):
    """A dtype (or a thing that is no array) whose range of values is not defined."""

    def __init__(self, got: str, want: str = "uint8, uint16, float16 or float32", remedy: str = "") -> None:
        super().__init__(f"image is {got}, expected {want}; {remedy or 'convert it, for example image.astype(np.float32)'}")
        self.got, self.want = got, want


class ImageValueError(ImageError):
    """Values that no pixel can have: NaN or infinity."""

    def __init__(self, count: int) -> None:
        super().__init__(f"image has {count} NaN or infinite values, expected finite ones; clean it with np.nan_to_num(image)")
        self.count = count


class ImageReadError(ImageError):
    """A file that does not hold a readable image."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"cannot read {path}: {reason}")
        self.path, self.reason = Path(path), reason


class ImageWriteError(ImageError):
    """A target that cannot be written, or a format that cannot hold the image."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"cannot write {path}: {reason}")
        self.path, self.reason = Path(path), reason


class MaskError(RestoreError, ValueError):
    """A mask that is missing, unwanted, of another size, or of the other polarity."""


class OptionsError(RestoreError, ValueError):
    """An option outside its range."""

    def __init__(self, name: str, got: object, want: str) -> None:
        super().__init__(f"{name}={got!r}, expected {want}; pass a value in that range")
        self.name, self.got, self.want = name, got, want


class ModelError(RestoreError):
    """A model that cannot be used."""


class ModelNotFoundError(ModelError):
    """Neither a bundled name nor a file."""

    def __init__(self, name: str, known: Sequence[str], what: str | None = None, also: str = "") -> None:
        known_names = ", ".join(known) or "none"
        remedy = f"pass one of them or the path of an .onnx file{also}"
        super().__init__(f"{what or f'no model {name!r}'}; bundled models are: {known_names}; {remedy}")
        self.name, self.known = name, tuple(known)


class ModelDamagedError(ModelError):
    """A file that is not a whole, self-contained model of its `kind`."""

    def __init__(self, path: Path | str, reason: str, *, kind: str = "ONNX model") -> None:
        super().__init__(f"{path} is not a usable {kind}: {reason}")
        self.path, self.reason = Path(path), reason


class ModelHashError(ModelError):
    """The bytes are not those that were published."""

    def __init__(self, path: Path | str, got: str, want: str, remedy: str = "install restore-sdk again") -> None:
        super().__init__(f"{path} has sha256 {got}, expected {want}; {remedy}")
        self.path, self.got, self.want = Path(path), got, want


class ModelSpecError(ModelError):
    """The spec stamped into the model is missing, unreadable or from a newer release."""

    def __init__(self, reason: str, remedy: str = "export the model again with `python -m export onnx`") -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason


class TilingError(RestoreError, ValueError):
    """Exact tiles were asked of a network that reads the whole image."""

    def __init__(self, layers: Sequence[str], remedy: str) -> None:
        super().__init__(f"exact tiles are impossible: {', '.join(layers)} read(s) the whole image; {remedy}")
        self.layers = tuple(layers)


class BackendError(RestoreError):
    """The runtime under us failed; `log` holds its own lines."""

    def __init__(self, message: str, log: Sequence[str] = ()) -> None:
        super().__init__("\n  ".join([message, *log]))
        self.log = tuple(log)


class DeviceUnavailableError(BackendError):
    """The device or backend asked for is not on this machine."""

    def __init__(self, requested: str, available: Sequence[str], remedy: str) -> None:
        super().__init__(f"{requested!r} is not available here (available: {', '.join(available) or 'none'}); {remedy}")
        self.requested, self.available = requested, tuple(available)


class EngineBuildError(BackendError):
    """TensorRT makes no engine of the model. `node` of the ONNX graph is at fault, `operator` is what it does in the words of
    ONNX or TensorRT, both None where unknown; `log` holds the builder's lines."""

    def __init__(
        self, reason: str, remedy: str, *, node: str | None = None, operator: str | None = None, log: Sequence[str] = ()
    ) -> None:
        place = f" at node {node!r}" if node else ""
        place += f" (operator {operator})" if operator else ""
        super().__init__(f"no engine was built{place}: {reason}; {remedy}", log)
        self.node, self.operator = node, operator


class DeviceMemoryError(BackendError):
    """Not enough memory for one tile. Sizes in bytes, tile as (height, width) in pixels; None where unknown, or no tile is."""

    def __init__(self, required: int | None, free: int | None, tile: tuple[int, int] | None) -> None:
        known = f"required {required}, free {free} bytes"
        place = "" if tile is None else f" on a tile of {tile} pixels"
        super().__init__(f"out of memory{place} ({known}); pass a smaller tile")
        self.required, self.free, self.tile = required, free, tile


class MissingExtraError(RestoreError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module!r} is not installed; run: pip install 'restore-sdk[{extra}]'")
        self.module, self.extra = module, extra


class RestorerClosedError(RestoreError):
    """A Restorer was used after close()."""

    def __init__(self) -> None:
        super().__init__("this Restorer is closed; open a new one, or call it inside its `with` block")


class RestoreWarning(UserWarning):
    """The work goes on, but its result or speed may differ from what one would expect; the message says how."""
