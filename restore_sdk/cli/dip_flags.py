"""Flags of `restore image` and `restore video` that only the per-image fits dip-... look at."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_type_hints

import typer

from restore_sdk.cli.exit_codes import UsageError
from restore_sdk.options import is_dip

PANEL = "Deep Image Prior (-m dip-denoise, dip-inpaint, dip-super-resolve, dip-deblur)"


class WidthChoice(StrEnum):
    """Channels of the network."""

    QUALITY = "quality"
    BALANCED = "balanced"
    DRAFT = "draft"


class StoppingChoice(StrEnum):
    """What ends a fit."""

    AUTO = "auto"
    WMV = "wmv"
    EMV = "emv"
    DISCREPANCY = "discrepancy"
    HELD_OUT = "held-out"
    NONE = "none"


MaskFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--mask", metavar="MASK", help="Image of the input's size: white is to be filled.", rich_help_panel=PANEL),
]
InvertMask: TypeAlias = Annotated[
    bool | None,
    typer.Option("--invert-mask", metavar="", help="Black of --mask is to be filled, white is kept.", rich_help_panel=PANEL),
]
KernelText: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--kernel",
        metavar="IMAGE|BLUR",
        help="What blurred: a small image, or text such as gaussian-blur:sigma=2.",
        rich_help_panel=PANEL,
    ),
]
Sigma: TypeAlias = Annotated[
    float | None,
    typer.Option("--sigma", min=0, max=255, help="Noise level, of 255; estimated if left out.", rich_help_panel=PANEL),
]
ScaleFactor: TypeAlias = Annotated[
    int | None, typer.Option("--scale", metavar="2|4|8", help="Enlargement of dip-super-resolve; 4.", rich_help_panel=PANEL)
]
WidthFlag: TypeAlias = Annotated[
    WidthChoice | None,
    typer.Option(
        "--width", help="Of the network: an iteration of quality takes five times the draft's time.", rich_help_panel=PANEL
    ),
]
StoppingFlag: TypeAlias = Annotated[
    StoppingChoice | None, typer.Option("--stopping", help="What ends a fit.", rich_help_panel=PANEL)
]
MaxIterations: TypeAlias = Annotated[
    int | None, typer.Option("--max-iterations", min=1, help="Budget of a fit.", rich_help_panel=PANEL)
]
MaxSeconds: TypeAlias = Annotated[
    float | None,
    typer.Option("--max-seconds", min=0, help="Budget of an image; the best by then is written.", rich_help_panel=PANEL),
]
Warm: TypeAlias = Annotated[
    int | None,
    typer.Option("--warm", min=1, help="Budget of a frame that starts from the one before it; 200.", rich_help_panel=PANEL),
]
Seed: TypeAlias = Annotated[int | None, typer.Option("--seed", min=0, help="Of all random numbers; 0.", rich_help_panel=PANEL)]
TraceFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--trace", metavar="OUT.png", help="Also draw the curves and iterates; for one input only.", rich_help_panel=PANEL
    ),
]


MODELS_OF = {  # of the flags that not every fit looks at
    "mask": ("dip-inpaint",),
    "invert_mask": ("dip-inpaint",),
    "kernel": ("dip-deblur",),
    "scale": ("dip-super-resolve",),
    "sigma": ("dip-denoise", "dip-deblur"),
}
NEEDED_BY = {  # what a fit cannot do without
    "dip-inpaint": ("mask", "--mask FILE, an image of the input's size that is white where pixels are to be filled"),
    "dip-deblur": ("kernel", "--kernel IMAGE|BLUR, a small image of the blur, or text such as gaussian-blur:sigma=2"),
}


def means_fit(model: str) -> bool:
    """Whether -m names a fit to each image, or was meant to: what is mistyped is refused where the four are listed."""
    from restore_sdk.zoo.registry import SUFFIXES  # noqa: PLC0415 read from disk only where a model is asked for

    is_file = Path(model).suffix.lower() in SUFFIXES or os.path.exists(model)
    return is_dip(model) or (model.startswith("dip-") and not is_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class DipFlags:
    """The flags as given; None where they were left out."""

    mask: MaskFile = None
    invert_mask: InvertMask = None
    kernel: KernelText = None
    sigma: Sigma = None
    scale: ScaleFactor = None
    width: WidthFlag = None
    stopping: StoppingFlag = None
    max_iterations: MaxIterations = None
    max_seconds: MaxSeconds = None
    warm: Warm = None
    seed: Seed = None
    trace: TraceFile = None

    def given(self) -> list[str]:
        """The flags that were used."""
        return [_flag(field.name) for field in fields(self) if getattr(self, field.name) is not None]

    def check_used(self, model: str) -> None:
        """Raise UsageError if a flag was used that the fit `model` does not look at, or one that it needs is missing."""
        for name, models in MODELS_OF.items():
            if getattr(self, name) is not None and model not in models and not (name == "sigma" and self._stops_at_noise):
                raise UsageError(
                    f"{_flag(name)}: for -m {' and '.join(models)} only, not {model!r}; leave it out, or pass -m {models[0]}"
                )
        if self.sigma is not None and self.stopping not in (None, StoppingChoice.AUTO) and not self._stops_at_noise:
            raise UsageError(f"--sigma: --stopping {self.stopping} does not look at it; leave one of them out")
        name, wanted = NEEDED_BY.get(model, ("", ""))
        if name and getattr(self, name) is None:
            raise UsageError(f"-m {model} needs {wanted}; pass it")

    @property
    def _stops_at_noise(self) -> bool:
        return self.stopping is StoppingChoice.DISCREPANCY

    def check_target(self, *targets: str | Path) -> None:
        """Raise UsageError for a target that is the file of --mask or --kernel."""
        given = [os.path.realpath(path) for path in (self.mask, self.kernel) if path is not None]
        if any(os.path.realpath(target) in given for target in targets):
            raise UsageError("--out is the file of --mask or --kernel; name another")

    def check_unused(self, model: str) -> None:
        """Raise UsageError if a flag was used with a model that does not look at it."""
        if self.given():
            raise UsageError(
                f"{', '.join(self.given())}: for models dip-... only, not {model!r}; leave it out, or pass -m dip-denoise"
            )


def takes_dip_flags(*, without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command whose parameter `flags` is made of what was given of the flags above, all but `without`, which Typer finds in its
    signature."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        place = [parameter.name for parameter in own].index("flags")
        shown = _parameters(without)

        @functools.wraps(command)
        def called(*args: Any, **values: Any) -> None:
            flags = DipFlags(**{parameter.name: values.pop(parameter.name) for parameter in shown})
            command(*args, flags=flags, **values)

        parameters = [*own[:place], *shown, *own[place + 1 :]]
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return called

    return decorated


def _parameters(without: str) -> list[inspect.Parameter]:
    kinds = get_type_hints(DipFlags, include_extras=True)
    shown = [field for field in fields(DipFlags) if field.name != without]
    return [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=kinds[field.name])
        for field in shown
    ]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
