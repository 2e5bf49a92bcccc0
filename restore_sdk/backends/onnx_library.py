"""The onnxruntime package: imported without its telemetry, its distributions told apart, its CUDA libraries found."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import os
import sys
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType

from restore_sdk.backends.file_backend import Vendor
from restore_sdk.errors import RestoreWarning
from restore_sdk.extras import require

TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"  # microsoft/onnxruntime#27379; read once, while the package is imported
STAYS_ON = ("", "0", "false")
MODULE = "onnxruntime"
ONE_DISTRIBUTION = (
    "run: pip uninstall -y onnxruntime onnxruntime-gpu, "
    "then pip install 'restore-sdk[cpu]' or, for a GPU, pip install 'restore-sdk[cuda]'"
)
TENSORRT_LIBRARY = "nvinfer_10.dll" if sys.platform == "win32" else "libnvinfer.so.10"  # that the provider was linked to
TENSORRT_FOLDER = "tensorrt_libs"  # where pip's tensorrt 10 puts it

_switched_off: list[ModuleType] = []


def load_onnxruntime(extra: str = "cpu") -> ModuleType:
    """Import ONNX Runtime with its telemetry off. Raises MissingExtraError naming `extra`.

    Since 1.29 its official builds for Linux and macOS send usage data to Microsoft and keep a device id and a database in the
    user's cache folder, from the moment of import. The environment variable prevents all of that; who sets it to 0 beforehand
    keeps the telemetry. A package that someone imported before us has started already: then its events are switched off.
    """
    os.environ.setdefault(TELEMETRY_OFF, "1")
    was_imported = MODULE in sys.modules
    runtime = require(MODULE, extra)
    if was_imported and runtime not in _switched_off and os.environ[TELEMETRY_OFF].lower() not in STAYS_ON:
        runtime.disable_telemetry_events()
        _switched_off.append(runtime)
    if _may_be_two(runtime):
        _warn_of_two_distributions()
    return runtime


@cache
def installed_distributions() -> tuple[str, ...]:
    """The ONNX Runtime distributions in this environment, as "name version". More than one overwrite each other's files."""
    from importlib import metadata  # noqa: PLC0415 slow to load

    found = []
    for name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _may_be_two(runtime: ModuleType) -> bool:
    """Whether more than one distribution beside the package has a name like its own: one listing of a folder, where reading
    the metadata takes longer than a small image."""
    try:
        names = os.listdir(Path(runtime.__file__ or "").parents[1])
    except (OSError, IndexError):  # a package in a zip, or without a file
        return True
    return sum(name.startswith(MODULE) and name.endswith((".dist-info", ".egg-info")) for name in names) > 1


def _warn_of_two_distributions() -> None:
    found = installed_distributions()
    if len(found) > 1:
        warnings.warn(
            f"{' and '.join(found)} are installed together and overwrite each other's files; {ONE_DISTRIBUTION}",
            RestoreWarning,
            stacklevel=2,
        )


def vendor_errors(runtime: ModuleType) -> Vendor:
    """ONNX Runtime's own exceptions share no base class but Exception; RuntimeError and MemoryError come from below it."""
    state = vars(runtime.capi.onnxruntime_pybind11_state).values()
    own = [kind for kind in state if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, MemoryError)


@cache
def preload_cuda(runtime: ModuleType) -> tuple[str, ...]:
    """Load the CUDA and cuDNN libraries of NVIDIA's pip packages before the first session looks for them. What it complained of,
    line by line: it prints to stdout, which is not ours to write on, and raises nothing."""
    if not hasattr(runtime, "preload_dlls"):  # before 1.21, which looked for a system-wide CUDA alone
        return ()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        runtime.preload_dlls()
    return tuple(line for line in said.getvalue().splitlines() if line.strip())


def tensorrt_reason() -> str | None:
    """Why ONNX Runtime's TensorRT provider cannot work here; None if the library that it was linked to can be loaded."""
    packaged = importlib.util.find_spec(TENSORRT_FOLDER)
    folders = list(packaged.submodule_search_locations or ()) if packaged else []
    reasons = []
    for name in (TENSORRT_LIBRARY, *(str(Path(folder, TENSORRT_LIBRARY)) for folder in folders)):
        try:
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError as exc:
            reasons.append(str(exc))
        else:
            return None
    return f"{reasons[0]}: it is linked to TensorRT 10, and TensorRT 11 does not serve"
