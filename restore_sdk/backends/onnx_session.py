"""Opens ONNX Runtime sessions on one model, with our settings and our errors."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

from restore_sdk.backends.file_backend import Vendor
from restore_sdk.backends.onnx_file import OnnxFile
from restore_sdk.backends.onnx_providers import CPU, CUDA, NAMES, GpuOptions, Provider, provider_settings, rtx_devices
from restore_sdk.backends.signature import Tensor, check_signature
from restore_sdk.backends.vendor_errors import first_line, translated
from restore_sdk.errors import DeviceUnavailableError, ModelDamagedError
from restore_sdk.spec import ModelSpec

LOG_ERRORS_ONLY = 3


class Model(NamedTuple):
    """What sessions are opened on, and the settings that all of them share."""

    runtime: ModuleType
    file: OnnxFile
    spec: ModelSpec
    vendor: Vendor
    threads: int | None
    spinning: bool


class GpuSessions(NamedTuple):
    """Sessions on one GPU."""

    model: Model
    provider: Provider
    number: int  # of the GPU
    options: GpuOptions

    def open(self, stream: int | None, graphs: bool) -> Any:
        """A session on the CUDA stream `stream`, or one of its own; with `graphs` it can capture. Raises as `open_session`."""
        model, provider, number, gpu = self
        settings = provider_settings(provider, number, gpu, model.spec, stream=stream, graphs=graphs)
        if provider != "rtx":
            others = [(CUDA, {"device_id": str(number)}), CPU] if provider == "tensorrt" else [CPU]
            return open_session(model, session_options(model), [(NAMES[provider], settings), *others])
        devices = rtx_devices(model.runtime, model.vendor)
        if number >= len(devices):
            available = [f"cuda:{other}" for other in range(len(devices))]
            raise DeviceUnavailableError(f"cuda:{number}", available, "pass one of those, or backend='onnxruntime'")
        options = session_options(model)
        options.add_provider_for_devices([devices[number]], settings)
        return open_session(model, options, None)


def session_options(model: Model) -> Any:
    """Settings of a session; new ones each time, since a session keeps them."""
    options = model.runtime.SessionOptions()
    options.execution_mode = model.runtime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = LOG_ERRORS_ONLY
    options.intra_op_num_threads = model.threads or 0
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # on, it doubles the peak from the second run of a shape on, and gains no time
    wait = "1" if model.spinning else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", wait)
    options.add_session_config_entry("session.inter_op.allow_spinning", wait)
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


def open_session(model: Model, options: Any, providers: Sequence[Any] | None) -> Any:
    """A session whose graph is what the spec promises. `providers` is None where the options name them.

    Raises ModelDamagedError, ModelSpecError and BackendError.
    """
    runtime, file = model.runtime, model.file
    state = runtime.capi.onnxruntime_pybind11_state
    try:
        # enable_fallback=0: without it a session that fails is reopened on the CPU, with a line on stdout
        session = runtime.InferenceSession(file.content, options, providers=providers, enable_fallback=0)
    except (state.InvalidProtobuf, state.InvalidGraph, state.NoModel) as exc:
        raise ModelDamagedError(file.path, f"ONNX Runtime refuses it ({first_line(exc)}); export it again") from exc
    except model.vendor as exc:
        raise translated(f"ONNX Runtime {runtime.__version__} cannot open {file.path}", exc, None) from exc
    inputs, outputs = (
        [Tensor(node.name, node.type, node.shape) for node in nodes] for nodes in (session.get_inputs(), session.get_outputs())
    )
    check_signature(inputs, outputs, model.spec, float_kind="tensor(float)")
    return session
