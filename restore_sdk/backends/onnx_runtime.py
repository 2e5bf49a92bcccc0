"""ONNX Runtime behind the Backend protocol: the CPU, and CUDA where the installed build has it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.backends.onnx_file import OnnxFile, read_onnx
from restore_sdk.errors import (
    BackendError,
    DeviceMemoryError,
    DeviceUnavailableError,
    ModelDamagedError,
    ModelSpecError,
    OptionsError,
    RestorerClosedError,
    RestoreWarning,
)
from restore_sdk.extras import require
from restore_sdk.spec import ModelSpec

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
ONE_DISTRIBUTION = (
    "run: pip uninstall -y onnxruntime onnxruntime-gpu, "
    "then pip install 'restore-sdk[cpu]' or, for a GPU, pip install 'restore-sdk[cuda]'"
)
OUT_OF_MEMORY = re.compile(
    r"out of memory|bad[_ ]alloc|failed to allocate|cuda_error_out_of_memory|unable to allocate", re.IGNORECASE
)
LOG_ERRORS_ONLY = 3


class OnnxRuntimeBackend:
    """One ONNX Runtime session. Any number of threads may call `infer` at once; the results do not depend on it."""

    def __init__(self, session: Any, spec: ModelSpec, report: Mapping[str, object], vendor: tuple[type[Exception], ...]) -> None:
        self._session, self._spec, self._report, self._vendor = session, spec, dict(report), vendor
        self._input = session.get_inputs()[0].name
        self._outputs = [session.get_outputs()[0].name]

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def infer(self, batch: FloatNCHW, /) -> FloatNCHW:
        session = self._session  # our own reference: close() on another thread may not free it under a running call
        if session is None:
            raise RestorerClosedError
        self._check(batch)
        try:
            restored: FloatNCHW = session.run(self._outputs, {self._input: batch})[0]
        except self._vendor as exc:
            raise _translated("inference failed", exc, (batch.shape[2], batch.shape[3])) from exc
        return restored

    def warm_up(self, shapes: Iterable[tuple[int, int, int, int]], /) -> None:
        for shape in shapes:
            self.infer(np.zeros(shape, np.float32))

    def report(self) -> Mapping[str, object]:
        return dict(self._report)

    def close(self) -> None:
        self._session = None

    def _check(self, batch: FloatNCHW) -> None:
        spec, shape = self._spec, batch.shape
        multiple = spec.size_multiple
        if (
            len(shape) != 4
            or shape[1] != spec.channels
            or shape[2] % multiple
            or shape[3] % multiple
            or batch.dtype != np.float32
        ):
            raise BackendError(
                f"got {batch.dtype} of shape {shape}, wanted float32 of shape (N, {spec.channels}, H, W) "
                f"with H and W multiples of {multiple}; pad the batch, or let Restorer do it"
            )


def open_onnxruntime(
    path: Path, *, sha256: str | None = None, device: str = "auto", threads: int | None = None, spinning: bool = False
) -> OnnxRuntimeBackend:
    """Open the model at `path`.

    sha256    expected digest, hexadecimal; compared before the runtime sees a byte.
    device    "cpu", "cuda", "cuda:N", or "auto": CUDA where it works, else the CPU.
    threads   threads inside one operator on the CPU; None: one for each physical core.
    spinning  idle threads wait in a loop: a few percent faster on a quiet machine, twice the CPU time on a busy one.

    Raises ModelHashError, ModelDamagedError, ModelSpecError, DeviceUnavailableError, OptionsError, BackendError and
    MissingExtraError.
    """
    requested = _checked_device(device)
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise OptionsError("threads", threads, "an integer of at least 1, or None for one per physical core")
    file = read_onnx(path, sha256=sha256)
    spec = ModelSpec.from_metadata(file.metadata, sha256=file.sha256)
    runtime = require("onnxruntime", "cpu")
    _warn_of_two_distributions()
    vendor = _vendor_errors(runtime)
    session = _open_session(runtime, file, _session_options(runtime, threads, spinning), _providers(runtime, requested), vendor)
    actual = session.get_providers()
    if requested not in ("auto", "cpu") and CUDA not in actual:
        raise _no_cuda(requested, actual)
    _check_signature(session, spec)
    ours = {"backend": "onnxruntime", "version": runtime.__version__, "device": _device_of(session), "providers": list(actual)}
    settings = {"precision": spec.precision, "threads": threads, "spinning": spinning, "model": spec.name, "sha256": file.sha256}
    return OnnxRuntimeBackend(session, spec, {**ours, **settings}, vendor)


def _device_of(session: Any) -> str:
    if CUDA not in session.get_providers():
        return "cpu"
    return f"cuda:{session.get_provider_options()[CUDA].get('device_id', '0')}"


@cache
def installed_distributions() -> tuple[str, ...]:
    """The ONNX Runtime distributions in this environment, as "name version". More than one overwrite each other's files."""
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def _warn_of_two_distributions() -> None:
    found = installed_distributions()
    if len(found) > 1:
        warnings.warn(
            f"{' and '.join(found)} are installed together and overwrite each other's files; {ONE_DISTRIBUTION}",
            RestoreWarning,
            stacklevel=2,
        )


def _checked_device(device: str) -> str:
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise OptionsError("device", device, "'auto', 'cpu', 'cuda' or 'cuda:N'")
    return device


def _providers(runtime: ModuleType, device: str) -> list[Any]:
    """Execution providers in order of preference. Raises DeviceUnavailableError if the build has no CUDA and it was asked for."""
    has_cuda = CUDA in runtime.get_available_providers()
    if device == "cpu" or (device == "auto" and not has_cuda):
        return [CPU]
    if not has_cuda:
        raise _no_cuda(device, runtime.get_available_providers())
    return [(CUDA, {"device_id": device.partition(":")[2] or "0"}), CPU]


def _no_cuda(device: str, available: Sequence[str]) -> DeviceUnavailableError:
    build = "(pip uninstall -y onnxruntime, then pip install 'restore-sdk[cuda]')"
    remedy = f"install the NVIDIA driver and the CUDA build {build}, or pass device='cpu'"
    if len(installed_distributions()) > 1:
        remedy = f"{' and '.join(installed_distributions())} overwrite each other's files: {ONE_DISTRIBUTION}"
    return DeviceUnavailableError(device, available, remedy)


def _session_options(runtime: ModuleType, threads: int | None, spinning: bool) -> Any:
    options = runtime.SessionOptions()
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = LOG_ERRORS_ONLY
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # on, it doubles the peak from the second run of a shape on, and gains no time
    wait = "1" if spinning else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", wait)
    options.add_session_config_entry("session.inter_op.allow_spinning", wait)
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


def _open_session(
    runtime: ModuleType, file: OnnxFile, options: Any, providers: Sequence[Any], vendor: tuple[type[Exception], ...]
) -> Any:
    state = runtime.capi.onnxruntime_pybind11_state
    try:
        # enable_fallback=0: without it a session that fails is reopened on the CPU, with a line on stdout
        return runtime.InferenceSession(file.content, options, providers=list(providers), enable_fallback=0)
    except (state.InvalidProtobuf, state.InvalidGraph, state.NoModel) as exc:
        raise ModelDamagedError(file.path, f"ONNX Runtime refuses it ({_first_line(exc)}); export it again") from exc
    except vendor as exc:
        raise _translated(f"ONNX Runtime {runtime.__version__} cannot open {file.path}", exc, (0, 0)) from exc


def _vendor_errors(runtime: ModuleType) -> tuple[type[Exception], ...]:
    """ONNX Runtime's own exceptions share no base class but Exception; RuntimeError and MemoryError come from below it."""
    state = vars(runtime.capi.onnxruntime_pybind11_state).values()
    own = [kind for kind in state if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, MemoryError)


def _translated(action: str, exc: Exception, tile: tuple[int, int]) -> BackendError:
    if isinstance(exc, MemoryError) or OUT_OF_MEMORY.search(str(exc)):
        return DeviceMemoryError(None, None, tile)
    return BackendError(f"{action}; the runtime says:", str(exc).splitlines())


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)


def _check_signature(session: Any, spec: ModelSpec) -> None:
    """The graph must be what the spec promises, or the first image would fail instead of the opening."""
    if spec.inputs != ("image",):
        raise ModelSpecError(f"the model's spec has inputs {spec.inputs}, this backend feeds ('image',)", "use another backend")
    names = tuple(node.name for node in session.get_inputs())
    if names != spec.inputs:
        raise ModelSpecError(f"the graph has inputs {names}, its spec promises {spec.inputs}")
    if len(session.get_outputs()) != 1:
        raise ModelSpecError(f"the graph has {len(session.get_outputs())} outputs, expected 1")
    for node in (session.get_inputs()[0], session.get_outputs()[0]):
        _check_tensor(node.name, node.type, node.shape, spec.channels)


def _check_tensor(name: str, kind: str, shape: Sequence[int | str | None], channels: int) -> None:
    if kind != "tensor(float)":
        raise ModelSpecError(f"{name!r} is {kind}, expected tensor(float)")
    if len(shape) != 4:
        raise ModelSpecError(f"{name!r} has shape {list(shape)}, expected (N, C, H, W)")
    if isinstance(shape[1], int) and shape[1] != channels:
        raise ModelSpecError(f"{name!r} has {shape[1]} channels, the spec promises {channels}")
    fixed = [axis for axis in (0, 2, 3) if isinstance(shape[axis], int)]
    if fixed:
        raise ModelSpecError(f"{name!r} has shape {list(shape)} with axes {fixed} fixed, expected dynamic N, H and W")
