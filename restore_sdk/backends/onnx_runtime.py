"""ONNX Runtime behind the Backend protocol: the CPU, and NVIDIA GPUs where the installed build has a provider for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.backends.file_backend import FileBackend, Vendor, described
from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.backends.onnx_library import (
    ONE_DISTRIBUTION,
    installed_distributions,
    load_onnxruntime,
    preload_cuda,
    tensorrt_reason,
    vendor_errors,
)
from restore_sdk.backends.onnx_providers import BACKENDS, CPU, CUDA, NAMES, GpuOptions, Provider, rtx_devices
from restore_sdk.backends.onnx_session import GpuSessions, Model, open_session, session_options
from restore_sdk.backends.signature import check_shape, check_threads
from restore_sdk.backends.vendor_errors import translated
from restore_sdk.errors import BackendError, DeviceUnavailableError, OptionsError, RestorerClosedError
from restore_sdk.spec import ModelSpec

Shape = tuple[int, int, int, int]
NO_SUCH_GPU = "Invalid device ID"  # in the words of the providers' options
NO_GRAPHS = "cannot use the graph capture feature"  # what ONNX Runtime says of a model that it cannot capture


class OnnxRuntimeBackend(FileBackend):
    """One ONNX Runtime session on the CPU."""

    def __init__(self, session: Any, spec: ModelSpec, report: Mapping[str, object], vendor: Vendor) -> None:
        super().__init__(spec, report, vendor)
        self._session = session
        self._input = session.get_inputs()[0].name
        self._outputs = [session.get_outputs()[0].name]

    def _run(self, batch: FloatNCHW) -> FloatNCHW:
        session = self._session  # our own reference: close() on another thread may not free it under a running call
        if session is None:
            raise RestorerClosedError
        restored: FloatNCHW = session.run(self._outputs, {self._input: batch})[0]
        return restored

    def bind(self, shape: Shape, /) -> OnnxBound:
        """New arrays for a batch of `shape`, (N, C, H, W). Raises BackendError, RestorerClosedError."""
        check_shape(shape, self._spec)
        return OnnxBound(self, shape)

    def close(self) -> None:
        """Release everything; a second call does nothing."""
        self._session = None


class OnnxBound:
    """Arrays that the session is bound to: it then makes no value of its own for each call."""

    def __init__(self, backend: OnnxRuntimeBackend, shape: Shape) -> None:
        self._backend, session = backend, backend._session
        if session is None:
            raise RestorerClosedError
        larger = (*shape[:2], shape[2] * backend.spec.scale, shape[3] * backend.spec.scale)
        self.given: FloatNCHW = np.empty(shape, np.float32)
        self.restored: FloatNCHW = np.empty(larger, np.float32)
        self._start, self._binding = session.run_with_iobinding, session.io_binding()  # both keep the session
        self._binding.bind_cpu_input(backend._input, self.given)
        self._binding.bind_output(backend._outputs[0], "cpu", 0, np.float32, larger, self.restored.ctypes.data)

    def run(self) -> None:
        """Raises BackendError, DeviceMemoryError, RestorerClosedError."""
        if self._backend._session is None:
            raise RestorerClosedError
        try:
            self._start(self._binding)
        except self._backend._vendor as exc:
            raise translated("inference failed", exc, self.given.shape[2:]) from exc


def open_onnxruntime(
    path: Path,
    *,
    sha256: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = False,
    provider: Provider = "cuda",
    gpu: GpuOptions | None = None,
    chosen: str | None = None,
) -> FileBackend:
    """Open the model at `path`.

    sha256    expected digest, hexadecimal; compared before the runtime sees a byte.
    device    "cpu", "cuda", "cuda:N", or "auto": CUDA where it works, else the CPU.
    threads   threads inside one operator on the CPU; None: one for each physical core.
    spinning  idle threads wait in a loop: a few percent faster on a quiet machine, twice the CPU time on a busy one.
    provider  what runs on the GPU: "cuda"; "tensorrt", where TensorRT 10 is installed; "rtx", a plugin of its own.
              With one of the last two the device "auto" is a GPU, too.
    gpu       how it does.
    chosen    why "auto" came here, for report().

    Raises ModelHashError, ModelDamagedError, ModelSpecError, DeviceUnavailableError, OptionsError, BackendError and
    MissingExtraError.
    """
    requested = _checked_device(device)
    check_threads(threads)
    if provider not in NAMES:
        raise OptionsError("provider", provider, f"one of: {', '.join(NAMES)}")
    if provider != "cuda" and requested == "cpu":
        raise OptionsError("device", device, f"'auto', 'cuda' or 'cuda:N': {BACKENDS[provider]} runs on NVIDIA GPUs")
    if requested == "auto" and provider != "cuda":
        requested = "cuda"
    file = read_onnx(path, sha256=sha256)
    spec = ModelSpec.from_metadata(file.metadata, sha256=file.sha256)
    runtime = load_onnxruntime("cuda" if requested.startswith("cuda") else "cpu")
    model = Model(runtime, file, spec, vendor_errors(runtime), threads, spinning)
    if requested == "cpu" or (requested == "auto" and CUDA not in runtime.get_available_providers()):
        return _on_cpu(model, open_session(model, session_options(model), [CPU]), chosen)
    return _on_gpu(model, provider, requested, gpu or GpuOptions(), chosen)


open_onnxruntime_tensorrt = partial(open_onnxruntime, provider="tensorrt")
open_onnxruntime_rtx = partial(open_onnxruntime, provider="rtx")


def _on_cpu(model: Model, session: Any, chosen: str | None) -> OnnxRuntimeBackend:
    settings = {"providers": session.get_providers(), "threads": model.threads, "spinning": model.spinning}
    version = model.runtime.__version__
    report = described(model.spec, backend="onnxruntime", version=version, device="cpu", chosen=chosen, **settings)
    return OnnxRuntimeBackend(session, model.spec, report, model.vendor)


def _on_gpu(model: Model, provider: Provider, requested: str, gpu: GpuOptions, chosen: str | None) -> FileBackend:
    """Requested and actual providers are compared: ONNX Runtime itself goes to the CPU in silence."""
    from restore_sdk.backends.onnx_cuda import Device, OnnxCudaBackend  # noqa: PLC0415 needed with a GPU alone

    complaints = _prepared(model, provider, requested)
    index = int(requested.partition(":")[2] or 0)
    sessions = GpuSessions(model, provider, index, gpu)
    try:
        session, graphs = _first_session(sessions, wanted=gpu.graphs and provider == "cuda")
    except BackendError as exc:
        if NO_SUCH_GPU not in str(exc):
            raise
        raise _unavailable(requested, exc.log, provider) from exc
    if NAMES[provider] not in session.get_providers():
        if requested != "auto":
            raise _unavailable(requested, [*session.get_providers(), *complaints], provider)
        return _on_cpu(model, session, chosen)
    settings = {"providers": session.get_providers(), "gpu": session.get_provider_options().get(NAMES[provider], {})}
    details = settings if graphs == "on" else {**settings, "cuda_graphs": graphs}
    name, version = BACKENDS[provider], model.runtime.__version__
    report = described(model.spec, backend=name, version=version, device=f"cuda:{index}", chosen=chosen, **details)
    return OnnxCudaBackend(
        session,
        model.spec,
        report,
        model.vendor,
        runtime=model.runtime,
        open_session=sessions.open,
        device=Device(number=index),
        graphs=graphs == "on",
    )


def _prepared(model: Model, provider: Provider, requested: str) -> tuple[str, ...]:
    """Load the libraries that `provider` needs; what was complained of. Raises DeviceUnavailableError."""
    if provider == "rtx":
        rtx_devices(model.runtime, model.vendor)
        return ()
    available = model.runtime.get_available_providers()
    if NAMES[provider] not in available:
        raise _unavailable(requested, available, provider)
    complaints = preload_cuda(model.runtime)
    reason = tensorrt_reason() if provider == "tensorrt" else None
    if reason is not None:
        raise DeviceUnavailableError(BACKENDS[provider], [CUDA], f"{reason}; install tensorrt<11, or use backend='tensorrt'")
    return complaints


def _first_session(sessions: GpuSessions, *, wanted: bool) -> tuple[Any, str]:
    """A session, and "on" or why it captures no CUDA graphs."""
    if not wanted:
        return sessions.open(None, False), "off"
    try:
        return sessions.open(None, True), "on"
    except BackendError as exc:
        if NO_GRAPHS not in str(exc):
            raise
        return sessions.open(None, False), f"off: {' '.join(exc.log)}"


def _checked_device(device: str) -> str:
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", device):
        raise OptionsError("device", device, "'auto', 'cpu', 'cuda' or 'cuda:N'")
    return device


def _unavailable(device: str, available: Sequence[str], provider: Provider) -> DeviceUnavailableError:
    build = "(pip uninstall -y onnxruntime, then pip install 'restore-sdk[cuda]')"
    instead = "device='cpu'" if provider == "cuda" else "backend='onnxruntime'"
    remedy = f"install the NVIDIA driver and the CUDA build {build}, or pass {instead}"
    if len(installed_distributions()) > 1:
        remedy = f"{' and '.join(installed_distributions())} overwrite each other's files: {ONE_DISTRIBUTION}"
    return DeviceUnavailableError(device, available, remedy)
