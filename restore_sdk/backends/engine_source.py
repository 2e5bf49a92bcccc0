"""Where an engine's bytes come from: a .plan file, or an ONNX model that is built here once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from restore_sdk.backends.engine_build import build_engine
from restore_sdk.backends.engine_cache import CachedEngine, EngineCache
from restore_sdk.backends.engine_driver import installed_driver
from restore_sdk.backends.engine_file import EngineKey
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_plan import EXPORT_AGAIN, PlanFile
from restore_sdk.backends.engine_profile import MAXIMUM, EngineProfile, Shape, profile_for, rounded_up, size_text
from restore_sdk.backends.engine_progress import Cancelled
from restore_sdk.backends.onnx_file import OnnxFile
from restore_sdk.backends.wishes import Api, OnProgress
from restore_sdk.errors import BackendError
from restore_sdk.spec import ModelSpec

WAITING = "waiting for another process that builds this engine"  # or for another thread of ours


class EngineNotKeptError(BackendError):
    """No engine is kept for this model, GPU and range of shapes, and none was to be built."""


@dataclass(frozen=True, slots=True)
class Obtained:
    """An engine's bytes, whether they were "kept", "built", "rebuilt" or read from a "file", and what went wrong on the way."""

    payload: bytes
    outcome: str
    notes: tuple[str, ...] = ()


class EngineSource(Protocol):
    """Gives the engine of one model for one GPU."""

    @property
    def spec(self) -> ModelSpec:
        """What the model promises."""
        ...

    @property
    def api(self) -> Api:
        """The TensorRT it is for."""
        ...

    def obtain(self, profile: EngineProfile | None) -> Obtained:
        """The engine for `profile`, None: the first one. Raises BackendError."""
        ...

    def again(self, profile: EngineProfile | None, refused: Obtained, why: BackendError) -> Obtained:
        """Another one in the place of `refused`, which the runtime did not take; raises `why` or the like if there is none."""
        ...


class PlanSource:
    """A .plan file: one engine, one range of shapes."""

    def __init__(self, file: PlanFile, version: str) -> None:
        self._file, self._version = file, version

    @property
    def spec(self) -> ModelSpec:
        return self._file.spec

    @property
    def api(self) -> Api:
        return self._file.api

    def obtain(self, profile: EngineProfile | None) -> Obtained:
        if profile is not None:
            raise BackendError(f"{self._file.path} cannot be built for other shapes; pass the .onnx file, or {EXPORT_AGAIN}")
        return Obtained(self._file.content, "file")

    def again(self, profile: EngineProfile | None, refused: Obtained, why: BackendError) -> Obtained:
        built, here = self._file.version, self._version
        versions = "" if built == here else f" (it was built by {self.api} {built}, here is {here})"
        raise BackendError(f"{self._file.path} does not run on this machine{versions}; {EXPORT_AGAIN}", (str(why),)) from why


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSource:
    """An ONNX model, and how engines are built of it.

    may_build    False: only an engine that is kept already will do, and nobody who builds it is waited for.
    on_progress  gets (fraction, phase) during a build, from another thread, and once before another's build is waited for.
    """

    file: OnnxFile
    spec: ModelSpec
    version: str  # of the TensorRT module
    options: EngineOptions
    profile: EngineProfile
    gpu: str  # its name
    capability: tuple[int, int]
    cache: EngineCache
    may_build: bool = True
    on_progress: OnProgress | None = None
    cancelled: Cancelled = lambda: False
    within: Callable[[], AbstractContextManager[object]] = nullcontext

    @property
    def api(self) -> Api:
        return self.options.api

    def obtain(self, profile: EngineProfile | None) -> Obtained:
        """Raises EngineNotKeptError, and what building raises."""
        wanted = profile or self.profile
        engine = self._kept_or_built(wanted) if self.may_build else self._kept(wanted)
        return Obtained(engine.payload, engine.outcome, engine.notes)

    def again(self, profile: EngineProfile | None, refused: Obtained, why: BackendError) -> Obtained:
        """A kept engine that is refused is built again, once; one just built would be refused again."""
        self.cache.drop(self._key(profile or self.profile))
        if refused.outcome != "kept":
            raise why
        anew = self.obtain(profile)
        return Obtained(anew.payload, "rebuilt", (f"a kept engine was refused and built again: {why}", *anew.notes))

    def _kept(self, profile: EngineProfile) -> CachedEngine:
        kept = self.cache.kept(self._key(profile))
        if kept is None:
            sizes = " to ".join(size_text(shape) for shape in (profile.minimum, profile.maximum))
            raise EngineNotKeptError(f"no engine of {self.file.path} for {sizes} is kept for this GPU; pass build='wait'")
        return kept

    def _kept_or_built(self, profile: EngineProfile) -> CachedEngine:
        return self.cache.load_or_build(self._key(profile), lambda: self._build(profile), on_wait=self._tell_wait)

    def _tell_wait(self) -> None:
        if self.on_progress is not None:
            self.on_progress(0.0, WAITING)

    def _build(self, profile: EngineProfile) -> bytes:
        built = build_engine(
            self.file.content,
            self.spec,
            profile,
            self.options,
            on_progress=self.on_progress,
            cancelled=self.cancelled,
            within=self.within,
        )
        return built.plan

    def _key(self, profile: EngineProfile) -> EngineKey:
        major, minor = self.capability
        return EngineKey(
            onnx_sha256=self.file.sha256,
            api=self.api,
            api_version=self.version,
            driver=installed_driver(),
            compute_capability=f"{major}.{minor}",
            gpu=self.gpu,
            profile=profile.as_json(),
            precision=self.spec.precision,
            options=self.options.as_json(),
        )


def running_profile(spec: ModelSpec) -> EngineProfile:
    """What an engine is built for where nobody asks for other shapes: single images or tiles from the smallest that the spec
    allows to 1024 px a side, tuned for 512."""
    least = rounded_up(spec.min_size, spec.size_multiple)
    return profile_for(spec, minimum=(least, least))


def widened(profile: EngineProfile, shape: Shape, multiple: int) -> EngineProfile:
    """`profile` and `shape` too, with some room above it, so that the next larger shape does not mean another build."""
    batch = max(profile.maximum[0], 1 << (shape[0] - 1).bit_length())
    sides = [
        most if side <= most else rounded_up(rounded_up(side, MAXIMUM), multiple)
        for side, most in zip(shape[2:], profile.maximum[2:], strict=True)
    ]
    minimum = tuple(min(pair) for pair in zip(profile.minimum, shape, strict=True))
    return EngineProfile(
        minimum=(minimum[0], minimum[1], minimum[2], minimum[3]),
        optimum=profile.optimum,
        maximum=(batch, shape[1], sides[0], sides[1]),
    )


def options_for(options: EngineOptions, api: ModuleType, capability: tuple[int, int]) -> EngineOptions:
    """`options`, for tensorrt_rtx aimed at this GPU where it can be named; else its default set has to do."""
    known = getattr(getattr(api, "ComputeCapability", None), "__members__", {})
    if options.compute_capabilities or "SM{}{}".format(*capability) not in known:
        return options
    return dataclasses.replace(options, compute_capabilities=("{}.{}".format(*capability),))
