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
from restore_sdk.backends.signature import Tensor, check_batch, check_signature, check_threads
from restore_sdk.backends.vendor_errors import first_line, translated
from restore_sdk.errors import DeviceUnavailableError, ModelDamagedError, OptionsError, RestorerClosedError, RestoreWarning
from restore_sdk.extras import require
from restore_sdk.spec import ModelSpec

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
ONE_DISTRIBUTION = (
    "run: pip uninstall -y onnxruntime onnxruntime-gpu, "
    "then pip install 'restore-sdk[cpu]' or, for a GPU, pip install 'restore-sdk[cuda]'"
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
        check_batch(batch, self._spec)
        try:
            restored: FloatNCHW = session.run(self._outputs, {self._input: batch})[0]
        except self._vendor as exc:
            raise translated("inference failed", exc, (batch.shape[2], batch.shape[3])) from exc
        return restored

    def warm_up(self, shapes: Iterable[tuple[int, int, int, int]], /) -> None:
        for shape in shapes:
            self.infer(np.zeros(shape, np.float32))

    def report(self) -> Mapping[str, object]:
        return dict(self._report)

    def close(self) -> None:
        self._session = None


def open_onnxruntime(
    path: Path,
    *,
    sha256: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = False,
    chosen: str | None = None,
) -> OnnxRuntimeBackend:
    """Open the model at `path`.

    sha256    expected digest, hexadecimal; compared before the runtime sees a byte.
    device    "cpu", "cuda", "cuda:N", or "auto": CUDA where it works, else the CPU.
    threads   threads inside one operator on the CPU; None: one for each physical core.
    spinning  idle threads wait in a loop: a few percent faster on a quiet machine, twice the CPU time on a busy one.
    chosen    why "auto" came here, for report().

    Raises ModelHashError, ModelDamagedError, ModelSpecError, DeviceUnavailableError, OptionsError, BackendError and
    MissingExtraError.
    """
    requested = _checked_device(device)
    check_threads(threads)
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
    reason = {} if chosen is None else {"chosen": chosen}
    return OnnxRuntimeBackend(session, spec, {**ours, **settings, **reason}, vendor)


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
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", device):
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
        raise ModelDamagedError(file.path, f"ONNX Runtime refuses it ({first_line(exc)}); export it again") from exc
    except vendor as exc:
        raise translated(f"ONNX Runtime {runtime.__version__} cannot open {file.path}", exc, (0, 0)) from exc


def _vendor_errors(runtime: ModuleType) -> tuple[type[Exception], ...]:
    """ONNX Runtime's own exceptions share no base class but Exception; RuntimeError and MemoryError come from below it."""
    state = vars(runtime.capi.onnxruntime_pybind11_state).values()
    own = [kind for kind in state if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, MemoryError)


def _check_signature(session: Any, spec: ModelSpec) -> None:
    inputs, outputs = (
        [Tensor(node.name, node.type, node.shape) for node in nodes] for nodes in (session.get_inputs(), session.get_outputs())
    )
    check_signature(inputs, outputs, spec, float_kind="tensor(float)")
