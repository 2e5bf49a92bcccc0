"""What is installed here, found without importing any of it: versions, runtimes, clashes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

PACKAGES = ("restore-sdk", "numpy", "opencv-python-headless", "opencv-python", "pillow")
RUNTIMES: Mapping[str, Sequence[str]] = {  # module: the distributions that bring it
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"),
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt-rtx", "tensorrt_rtx"),
    "openvino": ("openvino",),
    "torch": ("torch",),
}
ONLY_ONE_OF: Mapping[
    str, Mapping[str, str]
] = {  # module: distributions that overwrite each other's files, and what to install instead
    "onnxruntime": {
        "onnxruntime": "restore-sdk[cpu]",
        "onnxruntime-gpu": "restore-sdk[cuda]",
        "onnxruntime-directml": "onnxruntime-directml",
        "onnxruntime-openvino": "onnxruntime-openvino",
    },
    "cv2": {
        "opencv-python-headless": "opencv-python-headless",
        "opencv-python": "opencv-python",
        "opencv-contrib-python": "opencv-contrib-python",
        "opencv-contrib-python-headless": "opencv-contrib-python-headless",
    },
}


@dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime that is installed. `distribution` and `version` are None for a module that no distribution claims."""

    module: str
    distribution: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Clash:
    """Distributions that own one module: the last one installed has overwritten the others."""

    module: str
    distributions: tuple[str, ...]
    remedy: str


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def packages() -> dict[str, str]:
    """Versions of Python and of what the base package needs, those that are installed."""
    found = {name: version for name in PACKAGES if (version := version_of(name)) is not None}
    return {"python": sys.version.split()[0], **found}


def runtimes() -> tuple[Runtime, ...]:
    """The runtimes that could be imported, without importing them."""
    return tuple(_runtime(module, names) for module, names in RUNTIMES.items() if find_spec(module) is not None)


def _runtime(module: str, distributions: Sequence[str]) -> Runtime:
    versions = {name: version for name in distributions if (version := version_of(name)) is not None}
    return Runtime(module, *next(iter(versions.items()), (None, None)))


def clashes() -> tuple[Clash, ...]:
    """Distributions that must not be installed together, with the commands that mend it."""
    found = []
    for module, extras in ONLY_ONE_OF.items():
        installed = tuple(name for name in extras if version_of(name) is not None)
        if len(installed) > 1:
            choices = " or ".join(f"pip install --force-reinstall '{extras[name]}'" for name in installed)
            found.append(Clash(module, installed, f"pip uninstall -y {' '.join(installed)}; then {choices}"))
    return tuple(found)
