"""The TensorRT modules: one API under two names, and every name of it that we rely on in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from types import MappingProxyType, ModuleType

from restore_sdk.backends.wishes import APIS, Api
from restore_sdk.cuda.driver import driver_reason
from restore_sdk.errors import BackendError
from restore_sdk.extras import require

# Class -> members, present in tensorrt 10.13 and later, 11, and tensorrt_rtx. What is not here is not used.
REQUIRED: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "Builder": ("create_network", "create_builder_config", "create_optimization_profile", "build_serialized_network"),
        "BuilderFlag": ("TF32",),
        "DataType": ("HALF", "FLOAT", "BF16"),
        "EngineInspector": ("execution_context", "get_engine_information"),
        "ExecutionContextAllocationStrategy": ("USER_MANAGED",),
        "HardwareCompatibilityLevel": ("AMPERE_PLUS",),
        "IBuilderConfig": (
            *("add_optimization_profile", "builder_optimization_level", "get_flag", "hardware_compatibility_level"),
            *("profiling_verbosity", "progress_monitor", "set_memory_pool_limit"),
        ),
        "ICudaEngine": (
            *("create_engine_inspector", "create_execution_context", "create_runtime_config", "get_tensor_dtype"),
            *("get_tensor_mode", "get_tensor_name", "get_tensor_profile_shape", "get_tensor_shape", "num_io_tensors"),
        ),
        "IExecutionContext": (
            *("execute_async_v3", "get_tensor_shape", "set_device_memory", "set_input_shape", "set_tensor_address"),
            "update_device_memory_size_for_shapes",
        ),
        "ILayer": ("get_output", "metadata", "name", "num_outputs", "type"),
        "ILogger": ("INFO", "WARNING", "ERROR", "INTERNAL_ERROR", "log"),
        "INetworkDefinition": ("get_input", "get_layer", "num_inputs", "num_layers"),
        "IOptimizationProfile": ("set_shape",),
        "IProgressMonitor": ("phase_finish", "phase_start", "step_complete"),
        "IRuntimeConfig": ("set_execution_context_allocation_strategy",),
        "ITensor": ("dtype", "name", "shape"),
        "LayerInformationFormat": ("JSON",),
        "LayerType": ("CAST", "CONSTANT"),
        "MemoryPoolType": ("WORKSPACE",),
        "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
        "OnnxParser": ("get_error", "num_errors", "parse"),
        "ParserError": ("code", "desc", "node_name", "node_operator"),
        "ProfilingVerbosity": ("DETAILED",),
        "Runtime": ("deserialize_cuda_engine",),
        "TensorIOMode": ("INPUT",),
    }
)
RTX_ONLY: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "ComputeCapability": ("SM86",),
        "CudaGraphStrategy": ("WHOLE_GRAPH_CAPTURE",),
        "EngineInvalidityDiagnostics": ("UNSUPPORTED_CC",),
        "EngineValidity": ("INVALID", "SUBOPTIMAL"),
        "IBuilderConfig": ("num_compute_capabilities", "set_compute_capability"),
        "IRuntimeCache": ("deserialize", "serialize"),
        "IRuntimeConfig": ("create_runtime_cache", "cuda_graph_strategy", "set_runtime_cache"),
        "Runtime": ("get_engine_validity",),
    }
)
EXTRAS: Mapping[Api, str] = MappingProxyType({"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"})


def installed_api() -> Api:
    """The TensorRT to build with where none is asked for: `tensorrt` before `tensorrt_rtx`, "tensorrt" where neither is here."""
    return next((api for api in APIS if find_spec(api) is not None), "tensorrt")


def load_api(name: Api) -> ModuleType:
    """Import `name` and see that it has what we use. Raises MissingExtraError, and BackendError for a broken or foreign one."""
    try:
        api = require("tensorrt" if name == "tensorrt" else "tensorrt_rtx", EXTRAS[name])
    except OSError as exc:
        raise BackendError(f"{name} is installed but cannot be loaded ({exc}); install it again") from exc
    needed = {**REQUIRED, **({name: (*REQUIRED.get(name, ()), *RTX_ONLY[name]) for name in RTX_ONLY} if _is_rtx(api) else {})}
    missing = [f"{owner}.{member}" for owner, members in needed.items() for member in members if not _has(api, owner, member)]
    if missing:
        version = getattr(api, "__version__", "(version unknown)")
        raise BackendError(f"{name} {version} lacks {', '.join(missing)}; run: pip install -U 'restore-sdk[{EXTRAS[name]}]'")
    return api


def driver_works() -> bool:
    """Whether NVIDIA's driver starts and sees a GPU. Without one some TensorRT calls end the process, so this is asked first."""
    return driver_reason() is None


def _is_rtx(api: ModuleType) -> bool:
    return hasattr(api, "ComputeCapability")


def _has(api: ModuleType, owner: str, member: str) -> bool:
    return hasattr(getattr(api, owner, None), member)
