"""OpenVINO behind the Backend protocol: the same stamped .onnx file, on the CPU."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.backends.file_backend import FileBackend, described
from restore_sdk.backends.onnx_file import OnnxFile, read_onnx
from restore_sdk.backends.signature import Tensor, check_signature, check_threads
from restore_sdk.backends.vendor_errors import first_line, translated
from restore_sdk.errors import BackendError, DeviceUnavailableError, ModelDamagedError, OptionsError, RestorerClosedError
from restore_sdk.extras import require
from restore_sdk.spec import ModelSpec

# What pybind11 makes of OpenVINO's exceptions: it has no class of its own.
VENDOR = (RuntimeError, MemoryError)
FLOAT32 = "f32"
KERNELS_KEPT = 256  # by default 5000, which hundreds of megabytes of compiled code are; fewer cost no time with a few sizes
PLACE = re.compile("Exception from |Check .* failed at |FrontEnd API failed ")  # lines that tell where, not what
SUMMARY = "Summary:\n"


class OpenVinoBackend(FileBackend):
    """One compiled model. Calls of several threads take turns on all of the model's CPU threads."""

    def __init__(self, runtime: ModuleType, compiled: Any, spec: ModelSpec, report: Mapping[str, object]) -> None:
        super().__init__(spec, report, VENDOR)
        self._runtime, self._compiled = runtime, compiled

    def _run(self, batch: FloatNCHW) -> FloatNCHW:
        compiled = self._compiled  # our own reference: close() on another thread may not free it under a running call
        if compiled is None:
            raise RestorerClosedError
        request = compiled.create_infer_request()  # about 10 us; one kept for each thread would keep its last image too
        request.set_input_tensor(self._runtime.Tensor(batch))  # a copy: shared memory is not kept alive by the request
        request.infer()
        restored: FloatNCHW = request.get_output_tensor().data.copy()
        return restored

    def close(self) -> None:
        """Release everything; a second call does nothing."""
        self._compiled = None


def open_openvino(
    path: Path,
    *,
    sha256: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = False,
    chosen: str | None = None,
) -> OpenVinoBackend:
    """Open the model at `path` on the CPU.

    sha256    expected digest, hexadecimal; compared before the runtime sees a byte.
    device    "cpu", or "auto", which means the same here.
    threads   threads inside one operator; None: one for each physical core.
    spinning  False: idle threads of OpenVINO sleep, and it has no switch for anything else.
    chosen    why "auto" came here, for report().

    Raises ModelHashError, ModelDamagedError, ModelSpecError, DeviceUnavailableError, OptionsError, BackendError and
    MissingExtraError.
    """
    _check_options(device, spinning)
    check_threads(threads)
    file = read_onnx(path, sha256=sha256)
    spec = ModelSpec.from_metadata(file.metadata, sha256=file.sha256)
    runtime = require("openvino", "openvino")
    core = _core(runtime)
    model = _read(core, file)
    check_signature(_tensors(model.inputs), _tensors(model.outputs), spec, float_kind=FLOAT32)
    try:
        compiled = core.compile_model(model, "CPU", _settings(threads))
    except VENDOR as exc:
        raise translated(f"OpenVINO cannot compile {path}", exc, None) from exc
    arithmetic = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    settings = {"arithmetic": arithmetic, "threads": threads, "spinning": False}
    report = described(spec, backend="openvino", version=runtime.__version__, device="cpu", chosen=chosen, **settings)
    return OpenVinoBackend(runtime, compiled, spec, report)


def _check_options(device: str, spinning: bool) -> None:
    if device not in ("auto", "cpu"):
        raise DeviceUnavailableError(str(device), ["cpu"], "pass device='cpu', or backend='onnxruntime' for a GPU")
    if spinning:
        raise OptionsError("spinning", spinning, "False: idle threads of OpenVINO always sleep")


def _settings(threads: int | None) -> dict[str, object]:
    """Where the processor has bfloat16, OpenVINO computes in it unless told otherwise. Pinned threads of two processes would
    meet on the same cores while others idle. Each new size of image brings kernels, which are kept."""
    settings: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": FLOAT32,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "ENABLE_HYPER_THREADING": False,
        "CPU_RUNTIME_CACHE_CAPACITY": KERNELS_KEPT,
    }
    return settings if threads is None else {**settings, "INFERENCE_NUM_THREADS": threads}


def _core(runtime: ModuleType) -> Any:
    core = runtime.Core()
    if "CPU" not in core.available_devices:
        raise DeviceUnavailableError("cpu", core.available_devices, "install openvino again: its CPU plugin is missing")
    return core


def _read(core: Any, file: OnnxFile) -> Any:
    try:
        return core.read_model(model=file.content)
    except VENDOR as exc:
        error = translated("OpenVINO cannot read the model", exc, None)
        if type(error) is not BackendError:
            raise error from exc
        raise ModelDamagedError(file.path, f"OpenVINO refuses it ({_gist(exc)}); export it again, or use onnxruntime") from exc


def _gist(exc: Exception) -> str:
    """OpenVINO says first where in its source it was, and later what is the matter, with a summary where that is much."""
    lines = [line for line in str(exc).splitlines() if line.strip() and not PLACE.match(line)]
    _, _, summary = "\n".join(lines).partition(SUMMARY)
    told = [line.removeprefix("-- ") for line in summary.splitlines() if line.startswith("-- ")] or lines[:1]
    return "; ".join(told) or first_line(exc)


def _tensors(ports: Sequence[Any]) -> list[Tensor]:
    return [Tensor(port.any_name, port.element_type.get_type_name(), _shape(port.partial_shape)) for port in ports]


def _shape(partial: Any) -> list[int | None]:
    if partial.rank.is_dynamic:
        return []
    return [axis.get_length() if axis.is_static else None for axis in partial]
