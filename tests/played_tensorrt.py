"""Stand-ins for TensorRT's runtime and for a GPU: what they do is ours, so they test our control flow and nothing of NVIDIA's.

A plan is a line of JSON, its range of shapes, and the ONNX model; contexts run it with ONNX Runtime, on host memory, in the order
of the stream they are given. Every method says no if it is told to.
"""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Callable, Mapping
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from restore_sdk.backends.engine_build import BuiltEngine
from restore_sdk.backends.engine_precision import LayerPrecision
from restore_sdk.cuda.numpy_device import NumpyDevice, NumpyStream

NAME = "played_tensorrt"  # of the module: loggers are kept by it
SCRATCH_PER_PIXEL = 8  # bytes
Shape = tuple[int, ...]


class PlayedDevice(NumpyDevice):
    """Host memory that passes for GPU 0, and knows its streams by their handles."""

    name, capability = "NVIDIA Played 4090", (8, 6)

    def __init__(self, **others: Any) -> None:
        super().__init__(**others)
        self.streams: dict[int, NumpyStream] = {}
        self.closed = 0
        self.waits = 0

    def stream(self) -> NumpyStream:
        made = super().stream()
        self.streams[made.handle] = made
        return made

    def close(self) -> None:
        self.closed += 1

    # As a Launcher:

    def launch(self, kernel: str, _items: int, arguments: tuple[Any, ...], stream: int) -> None:
        """The one kernel that the backend launches by itself."""
        assert kernel == "find_not_finite"
        values, count, excuse, found, number = map(int, arguments)

        def run() -> None:
            excused = excuse and ctypes.c_longlong.from_address(excuse).value == number
            if not excused and not np.isfinite(array(values, (count,))).all():
                ctypes.c_longlong.from_address(found).value = number

        self.streams[stream].queue("look", values, run)

    def wait(self, stream: int) -> None:
        self.streams[stream].synchronize()

    def read(self, pointer: int, into: np.ndarray, stream: int) -> None:
        self.wait(stream)
        into[...] = array(pointer, into.shape)

    def write(self, pointer: int, source: np.ndarray, stream: int) -> None:
        self.wait(stream)
        array(pointer, source.shape)[...] = source

    def mark(self, stream: int) -> Callable[[], None]:
        event = self.event()
        self.streams[stream].record(event)

        def finished() -> None:
            self.waits += 1
            event.synchronize()

        weakref.finalize(finished, event.close)
        return finished


class Severity(IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO = range(4)


class TensorIOMode(IntEnum):
    NONE, INPUT, OUTPUT = range(3)


class Validity(IntEnum):
    VALID, SUBOPTIMAL, INVALID = range(3)


class Diagnostics(IntEnum):
    VERSION_MISMATCH, UNSUPPORTED_CC, OLD_CUDA_DRIVER, OLD_CUDA_RUNTIME = 1, 2, 4, 8
    INSUFFICIENT_GPU_MEMORY, MALFORMED_ENGINE, CUDA_ERROR = 16, 32, 64


class Logger:
    """ILogger."""

    INTERNAL_ERROR, ERROR, WARNING, INFO = Severity


class RuntimeCache:
    """IRuntimeCache: the kernels compiled are the names of the shapes that ran. What it is given may be foreign."""

    def __init__(self, api: PlayedTensorRT) -> None:
        self.api, self.compiled = api, set[str]()

    def serialize(self) -> Any:
        return self.api.answer("serialize", memoryview("\n".join(sorted(self.compiled)).encode()))

    def deserialize(self, blob: bytes) -> bool:
        taken = bool(self.api.answer("deserialize", True))
        if taken:
            self.compiled |= set(bytes(blob).decode().split("\n"))
        return taken


class PlayedTensorRT:
    """The module. `answers`: method -> what it answers instead, an exception to raise, or a list of such, one for each call;
    `says`: method -> an error it logs."""

    def __init__(self, device: PlayedDevice) -> None:
        self.__name__, self.__version__ = NAME, "11.4.0.106"
        self.device, self.rtx = device, False
        self.answers: dict[str, Any] = {}
        self.says: dict[str, str] = {}
        self.asked: list[str] = []
        self.contexts: list[Context] = []
        self.logger: Any = None
        self.plans: list[bytes] = []
        self.overflow: Callable[[np.ndarray], bool] = lambda batch: False
        self.ILogger, self.TensorIOMode = Logger, TensorIOMode
        self.DataType = SimpleNamespace(FLOAT="DataType.FLOAT")
        self.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")

    def become_rtx(self) -> None:
        """Have what tensorrt_rtx alone has."""
        self.rtx = True
        self.CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole graph")
        self.EngineValidity, self.EngineInvalidityDiagnostics = Validity, Diagnostics
        self.ComputeCapability = SimpleNamespace(__members__={"SM86": 1, "SM120": 2})

    def Runtime(self, logger: Any) -> Any:  # noqa: N802 TensorRT's name
        self.logger = logger
        methods: dict[str, Any] = {
            "deserialize_cuda_engine": lambda plan: self.answer("deserialize_cuda_engine", self._engine(plan))
        }
        if self.rtx:
            methods["get_engine_validity"] = lambda plan: self.answer("get_engine_validity", (Validity.VALID, 0))
        return self.answer("Runtime", SimpleNamespace(**methods))

    def answer(self, method: str, usual: Any) -> Any:
        self.asked.append(method)
        if method in self.says:
            self.logger.log(Severity.ERROR, self.says[method])
        if method not in self.answers:
            return usual
        told = self.answers[method]
        if isinstance(told, list):
            told = told.pop(0) if told else usual
        if isinstance(told, Exception):
            raise told
        return usual if told is ... else told

    def _engine(self, plan: bytes) -> Engine:
        self.plans.append(plan)
        return Engine(self, plan)


class Engine:
    """ICudaEngine."""

    num_io_tensors = 2

    def __init__(self, api: PlayedTensorRT, plan: bytes) -> None:
        head, _, model = plan.partition(b"\n")
        self.profile: Mapping[str, Shape] = json.loads(head)
        self.api, self.session = api, onnxruntime.InferenceSession(model, _quiet())

    def get_tensor_name(self, index: int) -> str:
        return str(self.api.answer("get_tensor_name", ("image", "restored")[index]))

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "image" else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return self.api.answer("get_tensor_dtype", "DataType.FLOAT")

    def get_tensor_shape(self, name: str) -> Shape:
        return (-1, 3, -1, -1)

    def get_tensor_profile_shape(self, name: str, index: int) -> list[Shape]:
        shapes = [tuple(self.profile[key]) for key in ("min", "opt", "max")]
        return list(self.api.answer("get_tensor_profile_shape", shapes))

    def create_runtime_config(self) -> Any:
        config = SimpleNamespace(set_execution_context_allocation_strategy=lambda strategy: None)
        if self.api.rtx:
            config.cuda_graph_strategy = "disabled"
            config.cache = None
            config.create_runtime_cache = lambda: self.api.answer("create_runtime_cache", RuntimeCache(self.api))
            config.set_runtime_cache = lambda cache: self.api.answer("set_runtime_cache", setattr(config, "cache", cache) or True)
        return self.api.answer("create_runtime_config", config)

    def create_execution_context(self, config: Any) -> Context:
        context = Context(self, config)
        self.api.contexts.append(context)
        return self.api.answer("create_execution_context", context)  # type: ignore[no-any-return]


class Context:
    """IExecutionContext."""

    def __init__(self, engine: Engine, config: Any) -> None:
        self.engine, self.api, self.config = engine, engine.api, config
        self.shape: Shape | None = None
        self.memory = (0, 0)
        self.memories: list[int] = []
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        self.shape = shape
        return bool(self.api.answer("set_input_shape", True))

    def get_tensor_shape(self, name: str) -> Shape:
        assert self.shape is not None
        return tuple(self.api.answer("get_tensor_shape", self.shape))

    def update_device_memory_size_for_shapes(self) -> int:
        assert self.shape is not None
        return int(self.api.answer("update_device_memory_size_for_shapes", SCRATCH_PER_PIXEL * self.shape[2] * self.shape[3]))

    def set_device_memory(self, pointer: int, nbytes: int) -> None:
        self.memory = pointer, nbytes
        self.memories.append(nbytes)

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        self.addresses[name] = pointer
        return bool(self.api.answer("set_tensor_address", True))

    def execute_async_v3(self, stream: int) -> bool:
        assert self.shape is not None
        assert self.memory[1] >= SCRATCH_PER_PIXEL * self.shape[2] * self.shape[3], "too little scratch memory"
        given, restored, scratch = self.addresses["image"], self.addresses["restored"], self.memory[0]
        shape, engine = self.shape, self.engine
        if self.api.rtx and str(shape) not in self.config.cache.compiled:
            self.api.asked.append("compile")
            self.config.cache.compiled.add(str(shape))

        def run() -> None:
            ctypes.memset(scratch, 1, 1)
            batch = array(given, shape).copy()
            result = engine.session.run(None, {"image": batch})[0]
            array(restored, shape)[:] = np.nan if engine.api.overflow(batch) else result

        self.api.device.streams[stream].queue("infer", given, run)
        return bool(self.api.answer("execute_async_v3", True))


def array(pointer: int, shape: Shape) -> np.ndarray:
    """The host memory that passes for the GPU's."""
    size = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * size).from_address(pointer)).reshape(shape)


def played_build(content: bytes, spec: Any, profile: Any, options: Any, **others: Any) -> BuiltEngine:
    """build_engine, in no time."""
    with others["within"]():
        plan = json.dumps(profile.as_json()).encode() + b"\n" + content
    if others["on_progress"] is not None:
        others["on_progress"](1.0, "played")
    return BuiltEngine(plan, options.api, "11.4.0.106", LayerPrecision(0, 1, "network"), True, (), 0.0)


def _quiet() -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return options
