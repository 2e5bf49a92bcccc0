"""From an ONNX model to a TensorRT engine. TensorRT reports failure by None, False or -1; here each becomes a typed error."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from restore_sdk.backends.engine_api import driver_works, load_api
from restore_sdk.backends.engine_log import ROUTER, BuilderLog, vendor_logger
from restore_sdk.backends.engine_network import check_inputs, check_runnable, parsed, set_profile
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_precision import LayerPrecision, engine_information, inspected_precision, network_precision
from restore_sdk.backends.engine_profile import EngineProfile
from restore_sdk.backends.engine_progress import BuildProgress, Cancelled, vendor_monitor
from restore_sdk.backends.wishes import BuildCancelledError, OnProgress
from restore_sdk.errors import DeviceUnavailableError, EngineBuildError, OptionsError
from restore_sdk.spec import ModelSpec

MIB = 1 << 20
POLL_SECONDS = 0.1  # a wait without end hears no signal on Windows, nor one that another thread receives
ONNX_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")  # what the parser notes on each layer
NO_GPU = "install NVIDIA's driver, or build with api='tensorrt_rtx', which needs no GPU"


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """A serialised engine and what is known of it."""

    plan: bytes
    api: str
    version: str  # of the API, in full: a plan belongs to it
    precision: LayerPrecision
    tf32: bool  # whether FP32 convolutions may round their factors to TF32 on the GPU, TensorRT's default
    warnings: tuple[str, ...]  # TensorRT's
    seconds: float


def build_engine(
    content: bytes,
    spec: ModelSpec,
    profile: EngineProfile,
    options: EngineOptions,
    *,
    on_progress: OnProgress | None = None,
    cancelled: Cancelled = lambda: False,
    within: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> BuiltEngine:
    """Build an engine of `content`, an ONNX model that keeps the promises of `spec`, for the shapes of `profile`.

    The network is strongly typed: layers compute in the types of the ONNX graph and in no others.

    on_progress  gets (fraction, phase); called from another thread. What it raises ends the build and comes out as it is.
    cancelled    asked after each step; once true, the build ends with BuildCancelledError.
    within       entered by the thread that builds: makes the GPU current that the engine is for, if that is not the first one.

    Blocks for seconds to minutes. Ctrl-C stops the build at its next step and comes out as KeyboardInterrupt. Raises
    EngineBuildError with TensorRT's log, OptionsError, ModelSpecError, MissingExtraError, DeviceUnavailableError, BackendError.
    """
    profile.check(spec)
    api = load_api(options.api)
    has_driver = driver_works()
    if options.api == "tensorrt" and not has_driver:
        raise DeviceUnavailableError("tensorrt", ("tensorrt_rtx",), NO_GPU)
    stop = threading.Event()
    progress = BuildProgress(on_progress)
    build = _Build(api, spec, options, progress, lambda: stop.is_set() or cancelled())

    def work() -> BuiltEngine:
        try:
            with within():
                return build.run(content, profile, inspect=has_driver)
        except BuildCancelledError:
            if progress.failure is None:
                raise
        raise progress.failure  # out here, where a RuntimeError of the callback is not taken for one of the driver

    return _interruptible(work, stop)


def _interruptible(work: Callable[[], BuiltEngine], stop: threading.Event) -> BuiltEngine:
    """Run `work` in another thread. Python hands Ctrl-C to the main thread, and were that inside TensorRT, the exception would
    be raised in a callback of C++ and end the process."""
    with ThreadPoolExecutor(1, thread_name_prefix="engine-build") as pool:
        building = pool.submit(work)
        interrupted = False
        while not building.done():  # however often it is pressed: TensorRT cannot be left in the midst of a step
            try:
                wait([building], timeout=POLL_SECONDS)
            except KeyboardInterrupt:
                interrupted = True
                stop.set()
        if interrupted:
            raise KeyboardInterrupt
        return building.result()


class _Build:
    """One build: its log, and the order in which TensorRT's objects must be made and outlive one another."""

    def __init__(
        self,
        api: ModuleType,
        spec: ModelSpec,
        options: EngineOptions,
        progress: BuildProgress,
        cancelled: Cancelled,
    ) -> None:
        self._api, self._spec, self._options = api, spec, options
        self._progress, self._cancelled = progress, cancelled
        self._log = BuilderLog()
        self._logger = vendor_logger(api)

    def run(self, content: bytes, profile: EngineProfile, *, inspect: bool) -> BuiltEngine:
        with ROUTER.writing_to(self._log):
            return self._run(content, profile, inspect=inspect)

    def _run(self, content: bytes, profile: EngineProfile, *, inspect: bool) -> BuiltEngine:
        started = time.perf_counter()
        builder = self._made("builder", lambda: self._api.Builder(self._logger))
        typed = 1 << int(self._api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = self._made("network", lambda: builder.create_network(typed))
        inputs = check_inputs(parsed(self._api, network, content, self._logger, self._log), self._spec, profile)
        precision = network_precision(self._api, network)
        self._check_half(precision)
        config = self._configured(builder)
        set_profile(builder, config, inputs, self._log)
        plan = self._built(builder, network, config)
        warnings = self._log.warnings  # those of the inspection are not the build's
        if inspect:
            precision = inspected_precision(engine_information(self._api, self._logger, plan, inputs.optimum)) or precision
            self._check_half(precision)
        tf32 = bool(config.get_flag(self._api.BuilderFlag.TF32))
        seconds = time.perf_counter() - started
        version = str(self._api.__version__)
        return BuiltEngine(plan, self._options.api, version, precision, tf32, warnings, seconds)

    def _configured(self, builder: Any) -> Any:
        api, options = self._api, self._options
        config = self._made("configuration", builder.create_builder_config)
        config.profiling_verbosity = api.ProfilingVerbosity.DETAILED  # or the inspector has no types to show
        config.progress_monitor = vendor_monitor(api, self._progress, self._cancelled)
        if options.workspace_mib is not None:
            config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, options.workspace_mib * MIB)
        if options.optimization_level is not None:
            config.builder_optimization_level = options.optimization_level
        if options.hardware_compatible:
            config.hardware_compatibility_level = api.HardwareCompatibilityLevel.AMPERE_PLUS
        if options.compute_capabilities:
            self._target(config)
        return config

    def _target(self, config: Any) -> None:
        known = self._api.ComputeCapability.__members__
        wanted = self._options.compute_capabilities
        config.num_compute_capabilities = len(wanted)
        for index, capability in enumerate(wanted):
            member = known.get(f"SM{capability.replace('.', '')}")
            if member is None:
                targets = [f"{name[2:-1]}.{name[-1]}" for name in known if name.startswith("SM")]
                raise OptionsError("compute-capability", capability, f"some of: {', '.join(targets)}")
            if not config.set_compute_capability(member, index):
                raise self._failed(f"TensorRT refuses compute capability {capability}", "leave it out")

    def _built(self, builder: Any, network: Any, config: Any) -> bytes:
        plan = builder.build_serialized_network(network, config)
        if self._progress.failure is not None:
            raise BuildCancelledError
        if plan is not None:
            check_runnable(self._log)
            return bytes(plan)
        if self._cancelled():
            raise BuildCancelledError
        node, operator = _named_in(self._log.problems, network)
        remedy = "see TensorRT's own lines below; another --min, --opt, --max or --workspace may help"
        raise EngineBuildError("TensorRT gave up", remedy, node=node, operator=operator, log=self._log.problems)

    def _check_half(self, precision: LayerPrecision) -> None:
        if self._spec.precision == "fp16" and not precision.half:
            raise self._failed(
                f"the spec says fp16, but none of {precision.total} layers computes in FP16 (source: {precision.source})",
                "export the model again with `python -m export onnx --precision fp16`",
            )

    def _made(self, what: str, make: Callable[[], Any]) -> Any:
        try:
            made = make()
        except TypeError as exc:  # how a constructor that answers "no" reaches Python
            raise self._failed(f"TensorRT gives no {what} ({exc})", "see its own lines below") from exc
        if made is None:
            raise self._failed(f"TensorRT makes no {what}", "see its own lines below")
        return made

    def _failed(self, reason: str, remedy: str) -> EngineBuildError:
        return EngineBuildError(reason, remedy, log=self._log.problems)


def _named_in(lines: tuple[str, ...], network: Any) -> tuple[str | None, str | None]:
    """(ONNX node, kind) of the layer that the builder's lines speak of, the longest name first: node_8 is part of node_88."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    for layer in sorted(layers, key=lambda layer: -len(layer.name)):
        if layer.name and any(layer.name in line for line in lines):
            node = ONNX_NODE.search(str(layer.metadata))
            return node[1] if node else str(layer.name), str(layer.type).rpartition(".")[2]
    return None, None
