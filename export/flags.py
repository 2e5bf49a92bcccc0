"""Flags that the exports of a checkpoint share, and the command around each: its errors, its steps, its result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeAlias

import typer

from export.console import steps_shown
from export.keep_fp32 import parse_keep
from export.produce import ExportOptions
from export.tolerance import INT8, Precision
from restore_sdk.cli.console import errors_reported, say_json
from restore_sdk.cli.flags import Debug, Json

Source: TypeAlias = Annotated[Path, typer.Argument(help="Run folder, or its model.safetensors.")]
Threads: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Threads of the checks.", show_default="one per core")]
Tolerance: TypeAlias = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Largest difference of the outputs, which lie in [0, 1].",
        show_default="1e-4 in fp32; 1e-2 and 60 dB in fp16",
    ),
]
PRECISION_HELP = "Of weights and activations; input and output stay float32."


class Result(Protocol):
    """What an export reports."""

    def as_json(self) -> dict[str, Any]:
        """JSON types."""
        ...


def export_options(
    *,
    keep_fp32: Annotated[
        str,
        typer.Option(metavar="NAME[,NAME...]|auto", help="Modules that stay float32 in fp16; auto: as few as can be found."),
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the model.", show_default="the checkpoint's")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the weights.", show_default="the checkpoint's")] = "",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images to measure fast tiles, fp16 and int8 on.",
            show_default="textures; for fp16, examples; for int8 it is required",
        ),
    ] = None,
    tolerance: Tolerance = None,
    threads: Threads = None,
) -> dict[str, Any]:
    """The shared flags, as ExportOptions takes them."""
    return {
        "keep_fp32": parse_keep(keep_fp32),
        "name": name,
        "licence": licence,
        "calibration": calibration,
        "tolerance": tolerance,
        "threads": threads,
    }


def edge(as_json: Json = False, debug: Debug = False) -> None:
    """The flags of every command."""


def exporting(
    command: str, steps: Callable[[str], Sequence[str]], show: Callable[[Any], None]
) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Make a command of a function with a flag `precision`, which is called with its own flags and with `options`, made of the
    shared ones, and `announce`. `steps` are those of a precision; `show` prints the result."""
    shared = inspect.signature(export_options, eval_str=True).parameters.values()

    def decorated(export: Callable[..., Result]) -> Callable[..., None]:
        given = inspect.signature(export, eval_str=True).parameters.values()
        own = [flag for flag in given if flag.name not in ("options", "announce")]

        def run(*, as_json: bool, debug: bool, **flags: Any) -> None:
            with errors_reported(command, as_json=as_json, debug=debug):
                common = export_options(**{flag.name: flags.pop(flag.name) for flag in shared})
                precision = Precision.FP32 if flags["precision"] == INT8 else Precision(flags["precision"])
                with steps_shown(steps(flags["precision"])) as shown:
                    options = ExportOptions(precision=precision, on_run=shown.count, **common)
                    result = export(**flags, options=options, announce=shown.announce)
                if as_json:
                    say_json({"command": command, "exit_code": 0, **result.as_json()})
                else:
                    show(result)

        flags = [*own, *shared, *inspect.signature(edge, eval_str=True).parameters.values()]
        flags = [flag.replace(kind=inspect.Parameter.KEYWORD_ONLY) for flag in flags]
        run.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
        run.__annotations__ = {flag.name: flag.annotation for flag in flags}
        run.__name__, run.__doc__ = export.__name__, export.__doc__
        return run

    return decorated
