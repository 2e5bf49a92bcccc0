"""ONNX Runtime's execution providers for NVIDIA GPUs, and what each of them is told.

Names of options were compared with the libraries of onnxruntime-gpu 1.31.1 and onnxruntime-ep-nv-tensorrt-rtx-cu13 0.5.0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from types import MappingProxyType, ModuleType
from typing import Any, Literal, TypeAlias, get_args

from restore_sdk.backends.engine_profile import EngineProfile, profile_for, size_text
from restore_sdk.backends.file_backend import Vendor
from restore_sdk.backends.user_folder import user_folder
from restore_sdk.backends.vendor_errors import first_line
from restore_sdk.errors import DeviceUnavailableError, OptionsError
from restore_sdk.extras import require
from restore_sdk.spec import ModelSpec

Provider: TypeAlias = Literal["cuda", "tensorrt", "rtx"]
Search: TypeAlias = Literal["heuristic", "exhaustive", "default"]

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
NAMES: Mapping[Provider, str] = MappingProxyType(
    {"cuda": CUDA, "tensorrt": "TensorrtExecutionProvider", "rtx": "NvTensorRTRTXExecutionProvider"}
)
BACKENDS: Mapping[Provider, str] = MappingProxyType(
    {"cuda": "onnxruntime", "tensorrt": "onnxruntime-tensorrt", "rtx": "onnxruntime-rtx"}
)
RTX_MODULE, RTX_PACKAGE, RTX_EXTRA = "onnxruntime_ep_nv_tensorrt_rtx", "onnxruntime-ep-nv-tensorrt-rtx-cu13", "onnxruntime-rtx"
MIB = 1 << 20

_registering = Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuOptions:
    """How ONNX Runtime uses a GPU.

    memory_mib  most MiB that the CUDA provider's arena may take; None: as much as there is.
    graphs      capture a CUDA graph for each shape that `warm_up` is given; CUDA provider only. While one is captured, memory
                that another thread of this process asks of CUDA makes the capture fail, and then graphs are off.
    search      how the CUDA provider picks a convolution: "heuristic" gives one shape the same kernels, and so the same bits, in
                every process; "exhaustive" times them all at each new shape, and takes what was fastest that time.
    profile     smallest, usual and largest input that the TensorRT providers build for; None: 64, 512 and 1024 px a side.

    Raises OptionsError.
    """

    memory_mib: int | None = None
    graphs: bool = True
    search: Search = "heuristic"
    profile: EngineProfile | None = None

    def __post_init__(self) -> None:
        mib = self.memory_mib
        if mib is not None and (isinstance(mib, bool) or not isinstance(mib, int) or not 1 <= mib <= 1 << 30):
            raise OptionsError("memory_mib", mib, "an integer of at least 1 MiB, or None")
        if self.search not in get_args(Search):
            raise OptionsError("search", self.search, f"one of: {', '.join(get_args(Search))}")


def provider_settings(
    provider: Provider, index: int, options: GpuOptions, spec: ModelSpec, *, stream: int | None, graphs: bool
) -> dict[str, str]:
    """What `provider` is told to run the network of `spec` on GPU `index`, on the CUDA stream `stream` or one of its own."""
    if provider == "cuda":
        chosen = _cuda_settings(options, spec, graphs=graphs)
    else:
        profile = options.profile or profile_for(spec)
        profile.check(spec)
        chosen = _engine_settings(provider, profile, spec)
    if stream is not None:
        chosen["user_compute_stream"] = str(stream)
        if provider == "rtx":
            chosen["has_user_compute_stream"] = "1"
    return chosen if provider == "rtx" else {"device_id": str(index), **chosen}  # rtx is given the device itself


def _cuda_settings(options: GpuOptions, spec: ModelSpec, *, graphs: bool) -> dict[str, str]:
    settings = {
        "cudnn_conv_algo_search": options.search.upper(),
        "use_tf32": "0",  # it would round float32 to 10 bits, other kernels at other sizes otherwise, and tiles would show
        "prefer_nhwc": "1" if spec.precision == "fp16" else "0",  # tensor cores read channels last
        "arena_extend_strategy": "kSameAsRequested",  # the default doubles what it holds whenever a larger tile comes
        "enable_cuda_graph": "1" if graphs else "0",
    }
    if options.memory_mib is not None:
        settings["gpu_mem_limit"] = str(options.memory_mib * MIB)
    return settings


def _engine_settings(provider: Provider, profile: EngineProfile, spec: ModelSpec) -> dict[str, str]:
    """Engines are kept below our own cache, in a folder for each model: the provider names them after the graph alone."""
    prefix = "nv" if provider == "rtx" else "trt"
    settings = {
        f"{prefix}_profile_{name}_shapes": f"{spec.inputs[0]}:{size_text(shape)}" for name, shape in profile.as_json().items()
    }
    folder = _engine_folder(provider, profile, spec)
    if provider == "rtx":
        return settings if folder is None else {**settings, "nv_runtime_cache_path": str(folder)}
    for kind in ("engine", "timing") if folder is not None else ():
        settings |= {f"trt_{kind}_cache_enable": "1", f"trt_{kind}_cache_path": str(folder)}
    # TensorRT 10 behind this provider is weakly typed: what the file holds in half or in Q/DQ it may use, not must
    settings["trt_fp16_enable"] = "1" if spec.precision == "fp16" else "0"
    settings["trt_int8_enable"] = "1" if spec.precision == "int8" else "0"
    return settings


def _engine_folder(provider: Provider, profile: EngineProfile, spec: ModelSpec) -> Path | None:
    """None where nothing can be kept; then an engine is built each time."""
    engines = user_folder()
    if engines is None or not spec.sha256:
        return None
    key = sha256(f"{spec.sha256} {profile.as_json()}".encode()).hexdigest()
    folder = engines.parent / BACKENDS[provider] / key
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder
    return None


def rtx_devices(runtime: ModuleType, vendor: Vendor) -> list[Any]:
    """The GPUs that the plugin provider of TensorRT for RTX offers. Raises MissingExtraError, and DeviceUnavailableError if the
    plugin cannot be loaded here."""
    plugin = require(RTX_MODULE, RTX_EXTRA)
    name = NAMES["rtx"]
    with _registering:
        offered = [device for device in runtime.get_ep_devices() if device.ep_name == name]
        if offered:
            return offered
        try:
            runtime.register_execution_provider_library(name, plugin.get_library_path())
        except vendor as exc:
            remedy = "install NVIDIA's driver for a GPU since Ampere, or pass backend='onnxruntime'"
            raise DeviceUnavailableError("onnxruntime-rtx", [first_line(exc)], remedy) from exc
        return [device for device in runtime.get_ep_devices() if device.ep_name == name]
