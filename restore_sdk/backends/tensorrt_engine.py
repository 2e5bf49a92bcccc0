"""TensorRT, opened: `tensorrt` 10.13 and later, and `tensorrt_rtx`, through one API.

What must be so is looked at before TensorRT is asked anything: the file's hash, and a driver, without which some of its libraries
end the process. No exception is expected from TensorRT: None, False and -1 are errors, with its log attached.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from restore_sdk.backends.background import BackgroundBackend
from restore_sdk.backends.base import Backend
from restore_sdk.backends.engine_api import EXTRAS, installed_api, load_api
from restore_sdk.backends.engine_backend import TensorRTBackend
from restore_sdk.backends.engine_cache import EngineCache
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_plan import PlanFile, read_plan
from restore_sdk.backends.engine_profile import EngineProfile
from restore_sdk.backends.engine_progress import Cancelled
from restore_sdk.backends.engine_running import on_device
from restore_sdk.backends.engine_source import (
    EngineNotKeptError,
    ModelSource,
    PlanSource,
    options_for,
    running_profile,
)
from restore_sdk.backends.full_precision import full_precision_beside, model_of_plan
from restore_sdk.backends.onnx_file import OnnxFile, read_onnx
from restore_sdk.backends.onnx_runtime import open_onnxruntime
from restore_sdk.backends.signature import check_inputs, check_threads
from restore_sdk.backends.wishes import BUILDS, PLAN_SUFFIX, POLICIES, Api, Build, Finite, OnProgress
from restore_sdk.cuda.driver import driver_reason
from restore_sdk.cuda.memory import Device
from restore_sdk.cuda.opening import open_device
from restore_sdk.errors import BackendError, DeviceUnavailableError, MissingExtraError, ModelHashError, OptionsError
from restore_sdk.spec import ModelSpec

ApiWish: TypeAlias = Literal["auto", "tensorrt", "tensorrt_rtx"]
Memory: TypeAlias = Literal["auto", "cuda-core", "pycuda"]
MOST_CONTEXTS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineWishes:
    """What open_tensorrt was asked for, apart from the model. Raises OptionsError."""

    device: str = "auto"
    build: Build = "wait"
    finite: Finite = "raise"
    contexts: int = 3
    api: ApiWish = "auto"
    memory: Memory = "auto"
    profile: EngineProfile | None = None
    options: EngineOptions | None = None
    cache: EngineCache | None = None
    on_progress: OnProgress | None = None
    chosen: str | None = None

    def __post_init__(self) -> None:
        _check_choice("build", self.build, BUILDS)
        _check_choice("finite", self.finite, POLICIES)
        _check_choice("api", self.api, get_args(ApiWish))
        _check_choice("memory", self.memory, get_args(Memory))
        if not isinstance(self.device, str) or not re.fullmatch(r"auto|cuda(:[0-9]+)?", self.device):
            raise OptionsError("device", self.device, "'auto', 'cuda' or 'cuda:N': TensorRT runs on NVIDIA GPUs")
        if isinstance(self.contexts, bool) or not isinstance(self.contexts, int) or not 1 <= self.contexts <= MOST_CONTEXTS:
            raise OptionsError("contexts", self.contexts, f"an integer from 1 to {MOST_CONTEXTS}")
        if self.options is not None and self.api not in ("auto", self.options.api):
            raise OptionsError("api", self.api, f"{self.options.api!r}, as in options, or 'auto'")

    @property
    def index(self) -> int:
        """Number of the GPU."""
        return int(self.device.partition(":")[2] or 0)


def open_tensorrt(
    path: Path,
    *,
    sha256: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = False,
    build: Build = "wait",
    finite: Finite = "raise",
    contexts: int = 3,
    api: ApiWish = "auto",
    memory: Memory = "auto",
    profile: EngineProfile | None = None,
    options: EngineOptions | None = None,
    cache: EngineCache | None = None,
    on_progress: OnProgress | None = None,
    next_backend: Callable[[], Backend] | None = None,
    chosen: str | None = None,
) -> Backend:
    """Open the model at `path`: an .onnx file, whose engine is built here once and kept, or a .plan file with its JSON beside it.

    sha256        expected digest, hexadecimal; None, for a .plan file: the one in its JSON. Compared before TensorRT sees a byte.
    device        "auto", "cuda" or "cuda:N".
    threads, spinning  of `next_backend`; TensorRT has no such thing.
    build         where no engine is kept: "wait" for it; "background": serve on `next_backend` and change over when it is ready;
                  "never": raise EngineNotKeptError.
    finite        a result that is not finite, of a batch that is: "raise" BackendError; "fallback": restore it again with the
                  FP32 model beside the FP16 one (m.onnx or m_fp32.onnx beside m_fp16.onnx), else on ONNX Runtime; or "ignore".
    contexts      most execution contexts: batches in flight of infer and infer_many, and streams of infer_on_device.
    api           which TensorRT; "auto": `tensorrt`, else `tensorrt_rtx`.
    memory        what allocates and copies; "auto": cuda-core, else pycuda.
    profile       shapes to build for; None: single images of up to 1024 px a side. Others lead to another build when they come.
    options       how to build; None: TensorRT's defaults, tensorrt_rtx for this GPU alone.
    cache         where engines are kept; None: the user's cache folder.
    on_progress   gets (fraction, phase) during a build, from another thread, and once before another's build is waited for.
    next_backend  opens what serves meanwhile; None: ONNX Runtime.
    chosen        why "auto" came here, for report().

    Raises ModelError, OptionsError, MissingExtraError, DeviceUnavailableError, EngineBuildError, BackendError.
    """
    check_threads(threads)
    wishes = EngineWishes(
        device=device,
        build=build,
        finite=finite,
        contexts=contexts,
        api=api,
        memory=memory,
        profile=profile,
        options=options,
        cache=cache,
        on_progress=on_progress,
        chosen=chosen,
    )
    file, spec = _read(path, sha256)
    host = partial(open_onnxruntime, threads=threads, spinning=spinning)
    opening = _Opening(file, spec, wishes, host)
    if build != "background" or isinstance(file, PlanFile):
        return opening.open()
    try:
        return opening.open(may_build=False)
    except EngineNotKeptError:
        now = host(path, sha256=file.sha256) if next_backend is None else next_backend()
        return BackgroundBackend(now, lambda cancelled: opening.open(cancelled, may_widen=False), device_index=wishes.index)


class _Opening:
    """One model, with everything that can be known before TensorRT is asked."""

    def __init__(self, file: OnnxFile | PlanFile, spec: ModelSpec, wishes: EngineWishes, host: Callable[..., Backend]) -> None:
        self._file, self._spec, self._wishes, self._host = file, spec, wishes, host
        self._api = _chosen_api(file, wishes)
        self._module = load_api(self._api)

    def open(self, cancelled: Cancelled = lambda: False, *, may_build: bool = True, may_widen: bool = True) -> TensorRTBackend:
        wishes = self._wishes
        with ExitStack() as undo:
            device = open_device(wishes.index, implementation=wishes.memory)
            undo.callback(device.close)
            source = self._source(device, cancelled, may_build=may_build and wishes.build != "never")
            undo.pop_all()
        return TensorRTBackend(
            source,
            self._module,
            device,
            contexts=wishes.contexts,
            finite=wishes.finite,
            fallback=self._fallback,
            may_widen=may_widen,
            chosen=wishes.chosen,
            kernels=wishes.cache or EngineCache(),
        )

    def _source(self, device: Device, cancelled: Cancelled, *, may_build: bool) -> PlanSource | ModelSource:
        file, wishes = self._file, self._wishes
        version = str(self._module.__version__)
        if isinstance(file, PlanFile):
            return PlanSource(file, version)
        options = wishes.options or EngineOptions(api=self._api)
        return ModelSource(
            file=file,
            spec=self._spec,
            version=version,
            options=options_for(options, self._module, device.capability),
            profile=wishes.profile or running_profile(self._spec),
            gpu=device.name,
            capability=device.capability,
            cache=wishes.cache or EngineCache(),
            may_build=may_build,
            on_progress=wishes.on_progress,
            cancelled=cancelled,
            within=lambda: on_device(device),
        )

    def _fallback(self) -> Backend:
        """What restores the batches that overflow. Raises BackendError where there is nothing, ModelHashError where the model is
        not the one that was opened."""
        file = self._file
        beside = full_precision_beside(file.path, self._spec)
        if beside is not None:
            wishes = replace(self._wishes, finite="raise", build="wait", options=None, chosen=None)
            return _Opening(*_read(beside, None), wishes, self._host).open()
        if isinstance(file, PlanFile):
            model, digest = model_of_plan(file), file.onnx_sha256
        else:
            model, digest = file.path, file.sha256
        if model is None:
            raise BackendError(f"the network overflows, and no .onnx file lies beside {file.path} to fall back on; put one there")
        try:
            return self._host(model, sha256=digest)
        except ModelHashError as exc:
            raise ModelHashError(model, exc.got, exc.want, "it was changed meanwhile: open the model again") from exc


def _read(path: Path, sha256: str | None) -> tuple[OnnxFile | PlanFile, ModelSpec]:
    if path.suffix.lower() == PLAN_SUFFIX:
        plan = read_plan(path, sha256=sha256)
        check_inputs(plan.spec)
        return plan, plan.spec
    file = read_onnx(path, sha256=sha256)
    spec = ModelSpec.from_metadata(file.metadata, sha256=file.sha256)
    check_inputs(spec)
    return file, spec


def _chosen_api(file: OnnxFile | PlanFile, wishes: EngineWishes) -> Api:
    """Raises OptionsError, MissingExtraError, and DeviceUnavailableError without a driver: TensorRT is not imported then."""
    wanted = wishes.api if wishes.options is None else wishes.options.api
    api = installed_api() if wanted == "auto" else wanted
    if isinstance(file, PlanFile):
        if wanted not in ("auto", file.api):
            raise OptionsError("api", wanted, f"{file.api!r}, which {file.path} was built with, or 'auto'")
        api = file.api
    if find_spec(api) is None:
        raise MissingExtraError(api, EXTRAS[api])
    reason = driver_reason()
    if reason is not None:
        other = "the .onnx file it was built from" if isinstance(file, PlanFile) else "backend='onnxruntime'"
        raise DeviceUnavailableError(api, ("cpu",), f"{reason}; install the driver, or pass {other}")
    return api


def _check_choice(name: str, got: object, known: tuple[str, ...]) -> None:
    if got not in known:
        raise OptionsError(name, got, f"one of: {', '.join(known)}")
