"""What a Restorer was told to use, opened: a bundled name, a file, a fit to each image, or a backend that somebody opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from restore_sdk.backends.base import BindingBackend, PipelinedBackend
from restore_sdk.backends.opening import open_backend
from restore_sdk.errors import OptionsError
from restore_sdk.host_images import UNIT, Bind, Infer, InferMany, in_range, many_in_range
from restore_sdk.options import is_dip
from restore_sdk.spec import ModelSpec
from restore_sdk.zoo.registry import find_model

if TYPE_CHECKING:
    from restore_sdk.backends.base import Backend
    from restore_sdk.dip_images import DipImages


class OpenedModel(NamedTuple):
    """A backend, and what it can do beyond the least, in units of [0, 1].

    owned  whether it is ours to close
    fits   a network to each image; then the backend only stands for it
    """

    backend: Backend
    owned: bool
    fits: DipImages | None
    infer: Infer
    infer_many: InferMany | None
    bind: Bind | None


def open_model(model: str | os.PathLike[str] | Backend, place: Mapping[str, Any], wishes: Mapping[str, Any]) -> OpenedModel:
    """`place`: backend, device and threads; `wishes`: tile, build, finite, on_progress and dip, all as Restorer has them.

    Raises ModelError, BackendError, OptionsError, MissingExtraError.
    """
    if is_dip(model):
        return _fitting(str(model), place, wishes)
    if wishes["dip"] is not None:
        raise OptionsError("dip", wishes["dip"], "None for a trained model; options of a fit go with 'dip-...'")
    if not isinstance(model, str | os.PathLike):
        if not hasattr(model, "infer") or not isinstance(getattr(model, "spec", None), ModelSpec):
            raise OptionsError("model", model, "a bundled name, the path of an .onnx, .pt2 or .plan file, or an opened Backend")
        return _described(model, owned=False)
    path, sha256 = find_model(model)
    engine = {name: wishes[name] for name in ("build", "finite", "on_progress")}
    return _described(open_backend(path, sha256=sha256, **place, **engine), owned=True)


def _fitting(model: str, place: Mapping[str, Any], wishes: Mapping[str, Any]) -> OpenedModel:
    if wishes["on_progress"] is not None:
        told = "which builds no engine; DipImages(...).restore(on_progress=...) tells of iterations"
        raise OptionsError("on_progress", wishes["on_progress"], f"None for 'dip-...', {told}")
    from restore_sdk.dip.wishes import with_wishes  # noqa: PLC0415 loads the options of a fit
    from restore_sdk.dip_images import DipImages  # noqa: PLC0415 the same

    asked = {name: wishes[name] for name in ("tile", "build", "finite")}
    options = with_wishes(wishes["dip"], backend=place["backend"], **asked)
    fits = DipImages(model, options, device=place["device"], threads=place["threads"])
    return _described(fits, owned=True)._replace(fits=fits)


def _described(backend: Backend, *, owned: bool) -> OpenedModel:
    values = backend.spec.value_range
    several = many_in_range(backend.infer_many, values) if isinstance(backend, PipelinedBackend) else None
    bind = backend.bind if isinstance(backend, BindingBackend) and values == UNIT else None
    return OpenedModel(backend, owned, None, in_range(backend.infer, values), several, bind)
