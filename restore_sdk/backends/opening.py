"""Opens a model file on the backend and device that were asked for, or on the best that works here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from restore_sdk.backends.base import Backend
from restore_sdk.backends.choice import FIRST, choose
from restore_sdk.backends.file_backend import FileBackend
from restore_sdk.backends.wishes import (
    APIS,
    BUILDS,
    PLAN_SUFFIX,
    POLICIES,
    PROGRAM_SUFFIX,
    Build,
    BuildCancelledError,
    Finite,
    OnProgress,
)
from restore_sdk.cuda.driver import driver_reason
from restore_sdk.errors import BackendError, MissingExtraError, ModelDamagedError, OptionsError
from restore_sdk.options import check_callback


@dataclass(frozen=True, slots=True)
class Opener:
    """A function that opens a model. Its module is loaded when it is called: a call on the CPU needs no code for GPUs."""

    module: str
    name: str

    def __call__(self, path: Path, **arguments: Any) -> Backend:
        opened: Backend = self.load()(path, **arguments)
        return opened

    def load(self) -> Callable[..., Backend]:
        """The function itself."""
        function: Callable[..., Backend] = getattr(import_module(f"{__package__}.{self.module}"), self.name)
        return function


Openers: TypeAlias = Mapping[str, Opener]

ONNXRUNTIME, TENSORRT, CUDA = "onnxruntime", "tensorrt", "onnxruntime-cuda"  # the last two are what "auto" tries on a GPU
OPENERS: Openers = MappingProxyType(  # of .onnx files
    {
        ONNXRUNTIME: Opener("onnx_runtime", "open_onnxruntime"),
        "openvino": Opener("openvino", "open_openvino"),
        TENSORRT: Opener("tensorrt_engine", "open_tensorrt"),
        "onnxruntime-tensorrt": Opener("onnx_runtime", "open_onnxruntime_tensorrt"),
        "onnxruntime-rtx": Opener("onnx_runtime", "open_onnxruntime_rtx"),
    }
)
PROGRAM_OPENERS: Openers = MappingProxyType({"torch": Opener("torch_program", "open_torch_program")})  # of .pt2 files
PLAN_OPENERS: Openers = MappingProxyType({TENSORRT: OPENERS[TENSORRT]})  # of .plan files
BY_SUFFIX: Mapping[str, Openers] = MappingProxyType({PROGRAM_SUFFIX: PROGRAM_OPENERS, PLAN_SUFFIX: PLAN_OPENERS})


class Candidate(NamedTuple):
    """A backend that "auto" may take. `reason`: why not, where that is known without opening it."""

    name: str
    reason: str | None
    open: Callable[[], Backend]


def open_backend(
    path: Path,
    *,
    sha256: str | None = None,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = False,
    build: Build = "wait",
    finite: Finite = "raise",
    on_progress: OnProgress | None = None,
) -> Backend:
    """Open the model at `path`; the arguments mean what they mean to the backend's own opener.

    backend  for an .onnx file one of OPENERS, for a .pt2 file "torch", for a .plan file "tensorrt"; or "auto": the first that
             works of TensorRT, ONNX Runtime with CUDA, and on the CPU the faster one of those installed if
             `restore doctor --measure` has measured them, else ONNX Runtime. What was asked for by name is never replaced.
    build, finite, on_progress  of TensorRT; with build="background" the next that works serves until the engine is ready

    report() of what "auto" opened says why it did, as "chosen", and what it passed over, as "tried": [{"backend", "why"}].
    Raises OptionsError for a backend that does not run such a file, and whatever that opener raises: ModelError, BackendError,
    MissingExtraError.
    """
    _check(path, build, finite, on_progress)
    common = {"sha256": sha256, "threads": threads, "spinning": spinning}
    engine = {"build": build, "finite": finite, "on_progress": on_progress}
    openers = BY_SUFFIX.get(path.suffix.lower(), OPENERS)
    if backend == "auto" and openers is OPENERS:
        return _first_that_opens(_candidates(path, device, common, engine))
    chosen = {"chosen": f"it runs {path.suffix} files"} if backend == "auto" else {}
    name = next(iter(openers)) if backend == "auto" else backend
    opener = openers.get(name) if isinstance(name, str) else None
    if opener is None:
        raise OptionsError("backend", backend, f"'auto' or one of: {', '.join(openers)}, for a {path.suffix or 'model'} file")
    return opener(path, device=device, **common, **chosen, **(engine if name == TENSORRT else {}))


def _check(path: Path, build: object, finite: object, on_progress: object) -> None:
    """What only some backends look at is wrong on every machine alike; and a pipe or a device would be read for ever."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ModelDamagedError(path, "it is not a regular file; pass the path of a model file", kind="model")
    if build not in BUILDS:
        raise OptionsError("build", build, f"one of: {', '.join(BUILDS)}")
    if finite not in POLICIES:
        raise OptionsError("finite", finite, f"one of: {', '.join(POLICIES)}")
    check_callback("on_progress", on_progress, "(fraction, phase)")


def gpu_reasons() -> dict[str, str | None]:
    """Why "auto" would pass over each of its GPU backends on this machine; None: it would try it. Loads no runtime."""
    reason = driver_reason()
    missing = f"neither {' nor '.join(APIS)} is installed; run: pip install 'restore-sdk[tensorrt]'"
    return {
        TENSORRT: reason or (None if any(find_spec(api) is not None for api in APIS) else missing),
        CUDA: reason or (None if find_spec(FIRST) is not None else f"{FIRST} is not installed"),
    }


def _candidates(path: Path, device: str, common: Mapping[str, Any], engine: Mapping[str, Any]) -> list[Candidate]:
    """What may run an .onnx model on `device`, the best first."""
    found = []
    if not isinstance(device, str):
        raise OptionsError("device", device, "'auto', 'cpu', 'cuda' or 'cuda:N'")
    if device != "cpu":
        reasons = gpu_reasons()
        wanted = "cuda" if device == "auto" else device
        cuda = partial(OPENERS[ONNXRUNTIME], path, device=wanted, chosen="TensorRT does not work here", **common)
        # Where a GPU was demanded, ONNX Runtime's own error is the last word
        found.append(Candidate(CUDA, reasons[CUDA] if device == "auto" else None, cuda))
    if not device.startswith("cuda"):
        found.append(_on_cpu(path, common))
    if device == "cpu":
        return found
    rest = partial(_first_that_opens, tuple(found))
    wishes = {"device": device, "chosen": "it works here", "next_backend": rest, **common, **engine}
    tensorrt = partial(OPENERS[TENSORRT], path, **wishes)
    return [Candidate(TENSORRT, reasons[TENSORRT], tensorrt), *found]


def _on_cpu(path: Path, common: Mapping[str, Any]) -> Candidate:
    name, why = choose(lambda: common["sha256"] or _digest(path), threads=common["threads"])
    return Candidate(name, None, partial(OPENERS[name], path, device="cpu", chosen=why, **common))


def _first_that_opens(candidates: Sequence[Candidate]) -> Backend:
    """The first candidate that opens, with what was passed over in its report. Raises what the last one raises, and for every one
    what is wrong with the model itself or with what was asked."""
    tried: list[dict[str, str]] = []
    for candidate in candidates[:-1]:
        why = candidate.reason
        if why is None:
            try:
                return _noted(candidate.open(), tried)
            except BuildCancelledError:
                raise
            except (BackendError, MissingExtraError) as exc:
                why = str(exc)
        tried.append({"backend": candidate.name, "why": why})
    return _noted(candidates[-1].open(), tried)


def _noted(backend: Backend, tried: list[dict[str, str]]) -> Backend:
    if isinstance(backend, FileBackend):  # one that builds in the background notes what it serves on meanwhile
        backend.add_to_report({"tried": tried})
    return backend


def _digest(path: Path) -> str:
    """Empty for a file that cannot be read: its opener will say so."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
