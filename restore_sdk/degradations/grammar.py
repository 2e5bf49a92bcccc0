"""Corruptions as text: "remove-pixel:p=0.9", "gaussian-blur:sigma=0.5..2+gaussian-noise:sigma=0.05".

corruption = step { "+" step }                  the first one first
step       = name [ ":" item { "," item } ]     a parameter that is left out has its default
item       = key "=" value | flag               a flag alone switches it on
value      = number | low ".." high | word      a range is drawn anew for each image
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from restore_sdk.degradations.blur import ConvolveNoise, GaussianBlur, GivenBlur, MotionBlur
from restore_sdk.degradations.composition import compose
from restore_sdk.degradations.downsampling import Downsample
from restore_sdk.degradations.drawn_masks import BrushStrokes, Text
from restore_sdk.degradations.errors import CorruptionSpecError
from restore_sdk.degradations.jpeg import Jpeg
from restore_sdk.degradations.masks import (
    DropColumns,
    DropPatch,
    DropRows,
    GivenMask,
    KeepPatch,
    PatchBand,
    RemovePixel,
    RemovePixelChannel,
)
from restore_sdk.degradations.noise import GaussianNoise, ImpulseNoise, PoissonGaussianNoise, PoissonNoise
from restore_sdk.degradations.operator import Operator
from restore_sdk.degradations.parameters import Range
from restore_sdk.degradations.pointwise import Clip, Identity
from restore_sdk.errors import OptionsError

KINDS: tuple[type[Operator], ...] = (
    *(RemovePixel, RemovePixelChannel, ConvolveNoise, PatchBand, KeepPatch, DropPatch, DropRows, DropColumns, BrushStrokes, Text),
    *(GaussianNoise, PoissonNoise, PoissonGaussianNoise, ImpulseNoise),
    *(GaussianBlur, MotionBlur, GivenBlur, GivenMask, Downsample, Jpeg, Clip, Identity),
)
OPERATORS: Mapping[str, type[Operator]] = {kind.name: kind for kind in KINDS}
_PLUS = re.compile(r"\+(?=\s*[A-Za-z]|\s*\+|\s*$)")  # not the one in 1e+3


def parse(text: str) -> Operator:
    """The operator that `text` describes. Raises CorruptionSpecError, which names what is known in the place of what is not."""
    return compose(*[_step(text, step.strip()) for step in _PLUS.split(text)])


def _step(text: str, step: str) -> Operator:
    name, colon, items = step.partition(":")
    kind = OPERATORS.get(name.strip())
    if kind is None:
        raise CorruptionSpecError(text, f"there is no {name.strip()!r}" if name.strip() else "a step is empty", tuple(OPERATORS))
    given: dict[str, Any] = {}
    for item in items.split(",") if colon else ():
        key, value = _item(text, kind, item.strip())
        if key in given:
            raise CorruptionSpecError(text, f"{key!r} is given twice", remedy="say it once")
        given[key] = value
    try:
        return kind(**given)
    except OptionsError as exc:
        raise CorruptionSpecError(text, f"{kind.name}: {exc.name}={_shown(exc.got)}", remedy=f"pass {exc.want}") from exc


def _item(text: str, kind: type[Operator], item: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in item.partition("="))
    known: dict[str, Field[Any]] = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if key not in known:
        raise CorruptionSpecError(
            text, f"{kind.name} has no {key!r}", tuple(known), "use one of these" if known else "leave it out"
        )
    hint = get_type_hints(kind)[key]
    if not equals and hint is not bool:
        raise CorruptionSpecError(
            text, f"{key!r} of {kind.name} has no value", remedy=f"write {key}={_shown(known[key].default)}"
        )
    return key, _value(text, key, value if equals else "true", hint)


def _value(text: str, key: str, value: str, hint: Any) -> Any:
    if hint is bool and value in ("true", "false"):
        return value == "true"
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise CorruptionSpecError(text, f"{key} cannot be {value!r}", get_args(hint))
    low, dots, high = value.partition("..")
    ranged = get_origin(hint) in (Union, types.UnionType)
    try:
        if dots and ranged:
            return Range(float(low), float(high))
        return hint(value) if hint is int else float(value) if hint is not bool else _no_flag()
    except ValueError as exc:
        wanted = "a number or low..high" if ranged else {int: "a whole number", bool: "true or false"}.get(hint, "a number")
        raise CorruptionSpecError(text, f"{key} cannot be {value!r}", remedy=f"pass {wanted}") from exc


def _no_flag() -> bool:
    raise ValueError("neither true nor false")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else str(value)
