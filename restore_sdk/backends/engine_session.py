"""A deserialised engine: whether this machine takes it, whether it is what its spec promises, and what runs it."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from restore_sdk.backends.engine_answers import answered
from restore_sdk.backends.engine_log import BuilderLog, vendor_logger
from restore_sdk.backends.engine_profile import EngineProfile
from restore_sdk.backends.signature import Tensor, check_signature
from restore_sdk.errors import BackendError, DeviceMemoryError, ModelSpecError
from restore_sdk.spec import ModelSpec

PLAN_FAULTS = frozenset({"VERSION_MISMATCH", "UNSUPPORTED_CC", "MALFORMED_ENGINE"})  # all other reasons lie in the machine


class EngineRefusedError(BackendError):
    """The runtime does not take a plan: another version, another GPU, damage. `log` holds its lines."""


@dataclass(frozen=True, slots=True)
class EngineSession:
    """An engine that passed every check. `runtime` must outlive `engine`, and that its contexts."""

    api: ModuleType
    runtime: Any
    engine: Any
    given: str  # names of its two tensors
    restored: str
    profile: EngineProfile  # what it was really built for
    graphs: bool  # whether TensorRT replays whole passes as CUDA graphs by itself
    runtime_cache: Any  # of kernels compiled at run time, shared by the contexts; None where there is none
    notes: tuple[str, ...]

    def new_context(self, *, graphs: bool = True) -> Any:
        """An IExecutionContext without scratch memory of its own; `graphs`: one that replays passes as CUDA graphs, where
        TensorRT does so by itself. Raises BackendError, DeviceMemoryError."""
        config = self._runtime_config(graphs=graphs and self.graphs)
        return answered("make an execution context", lambda: self.engine.create_execution_context(config))

    def _runtime_config(self, *, graphs: bool) -> Any:
        config = answered("make a runtime configuration", self.engine.create_runtime_config)
        # By default each context takes the memory of the largest shape; ours is as large as the shapes that come
        config.set_execution_context_allocation_strategy(self.api.ExecutionContextAllocationStrategy.USER_MANAGED)
        if graphs:
            config.cuda_graph_strategy = self.api.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        if self.runtime_cache is not None:
            answered("take the runtime cache", lambda: config.set_runtime_cache(self.runtime_cache))
        return config


def load_engine(api: ModuleType, plan: bytes, spec: ModelSpec) -> EngineSession:
    """Deserialise `plan`, whose hash was compared, on the current device.

    Only to be called where a driver works: without one some TensorRT libraries end the process here. Raises EngineRefusedError,
    ModelSpecError, BackendError, DeviceMemoryError.
    """
    runtime = answered("start its runtime", lambda: api.Runtime(vendor_logger(api)))
    notes = _judged(api, runtime, plan)
    try:
        engine = answered("take the engine", lambda: runtime.deserialize_cuda_engine(plan))
    except BackendError as exc:
        if type(exc) is not BackendError:  # out of memory is no fault of the plan
            raise
        raise EngineRefusedError("this TensorRT and GPU do not take the engine; it says:", exc.log or (str(exc),)) from exc
    given, restored = _checked_tensors(api, engine, spec)
    cache = _runtime_cache(engine)
    graphs = hasattr(api, "CudaGraphStrategy")
    return EngineSession(api, runtime, engine, given, restored, _profile(engine, given), graphs, cache, notes)


def _judged(api: ModuleType, runtime: Any, plan: bytes) -> tuple[str, ...]:
    """What tensorrt_rtx thinks of `plan` before it loads it, in words; nothing where it thinks well or cannot say."""
    if not hasattr(runtime, "get_engine_validity"):
        return ()
    log = BuilderLog()
    validity, reasons = answered("judge the engine", lambda: runtime.get_engine_validity(plan), log=log)
    known = api.EngineInvalidityDiagnostics.__members__
    names = [name for name, member in known.items() if int(reasons) & int(member)]
    words = ", ".join(name.lower().replace("_", " ") for name in names) or "no reason given"
    if validity == api.EngineValidity.INVALID:
        raise _verdict(names, f"this GPU does not run the engine of tensorrt_rtx ({words})", log.problems)
    if validity == api.EngineValidity.SUBOPTIMAL:
        return (f"the engine may be slower than one built for this GPU ({words})",)
    return ()


def _verdict(names: list[str], judgement: str, log: tuple[str, ...]) -> BackendError:
    """EngineRefusedError, after which a kept engine is built again, only where the plan is at fault, or no reason is given."""
    if "UNSUPPORTED_CC" in names:
        remedy = "it is for GeForce and RTX cards; for this GPU run: pip install 'restore-sdk[tensorrt]'"
        return EngineRefusedError(f"{judgement}; {remedy}", log)
    if not names or PLAN_FAULTS.intersection(names):
        return EngineRefusedError(f"{judgement}; build it again", log)
    if "INSUFFICIENT_GPU_MEMORY" in names:
        return DeviceMemoryError(None, None, None)
    return BackendError(f"{judgement}; install NVIDIA's newest driver, or pass backend='onnxruntime'", log)


def _checked_tensors(api: ModuleType, engine: Any, spec: ModelSpec) -> tuple[str, str]:
    """Names of the input and the output. Raises ModelSpecError."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    ends: dict[bool, list[Tensor]] = {True: [], False: []}
    for name in names:
        axes = [length if length >= 0 else None for length in engine.get_tensor_shape(name)]
        is_input = engine.get_tensor_mode(name) == api.TensorIOMode.INPUT
        ends[is_input].append(Tensor(name, str(engine.get_tensor_dtype(name)), axes))
    check_signature(ends[True], ends[False], spec, float_kind=str(api.DataType.FLOAT))
    return ends[True][0].name, ends[False][0].name


def _profile(engine: Any, given: str) -> EngineProfile:
    shapes = [tuple(shape) for shape in engine.get_tensor_profile_shape(given, 0)]
    if len(shapes) != 3:
        raise ModelSpecError(f"the engine has no optimisation profile for {given!r}", "build it again")
    smallest, usual, largest = shapes
    return EngineProfile(minimum=smallest, optimum=usual, maximum=largest)


def _runtime_cache(engine: Any) -> Any:
    config = answered("make a runtime configuration", engine.create_runtime_config)
    return answered("make a runtime cache", config.create_runtime_cache) if hasattr(config, "create_runtime_cache") else None
