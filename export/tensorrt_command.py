"""python -m export tensorrt: a plan from an ONNX model."""

from __future__ import annotations

import re
import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from export.to_tensorrt import ExportedPlan, ProfileSizes, export_plan
from restore_sdk.backends.engine_api import installed_api
from restore_sdk.backends.engine_options import EngineOptions
from restore_sdk.backends.engine_plan import sidecar_path
from restore_sdk.backends.engine_profile import Size, size_text
from restore_sdk.backends.wishes import OnProgress
from restore_sdk.cli.console import build_shown, errors_reported, note, say, say_json
from restore_sdk.cli.flags import Debug, Json
from restore_sdk.errors import OptionsError

SIZE = re.compile(r"([0-9]{1,6})x([0-9]{1,6})")


class ApiName(StrEnum):
    """Which TensorRT."""

    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt_rtx"


Min: TypeAlias = Annotated[str | None, typer.Option("--min", metavar="HxW", help="Smallest input, pixels.", show_default="64x64")]
Opt: TypeAlias = Annotated[str | None, typer.Option("--opt", metavar="HxW", help="Size to tune for.", show_default="512x512")]
Max: TypeAlias = Annotated[str | None, typer.Option("--max", metavar="HxW", help="Largest input.", show_default="1024x1024")]
Workspace: TypeAlias = Annotated[
    int | None, typer.Option(metavar="MIB", help="Scratch memory of a layer, MiB.", show_default="all there is")
]
Level: TypeAlias = Annotated[
    int | None, typer.Option("--opt-level", metavar="0-5", help="0 builds quickly, 5 searches longest.", show_default="3")
]
Compatible: TypeAlias = Annotated[
    bool, typer.Option("--hardware-compatible", help="One plan for every GPU since Ampere, some speed lost (tensorrt only).")
]
Capability: TypeAlias = Annotated[
    str, typer.Option(metavar="X.Y,...", help="GPUs to build for (tensorrt_rtx only).", show_default="its default set")
]


def tensorrt_command(
    *,
    model: Annotated[Path, typer.Argument(help="Model file (.onnx) with a spec.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Plan to write (.plan); its spec goes to .plan.json beside it.")],
    api: Annotated[
        ApiName | None, typer.Option(metavar="API", help="tensorrt or tensorrt_rtx.", show_default="the installed one")
    ] = None,
    minimum: Min = None,
    optimum: Opt = None,
    maximum: Max = None,
    batch: Annotated[int, typer.Option(help="Most images at once, and the number to tune for.")] = 1,
    workspace: Workspace = None,
    level: Level = None,
    hardware_compatible: Compatible = False,
    compute_capability: Capability = "",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Build a TensorRT engine: strongly typed, for a range of sizes, with the share of FP16 layers counted. Ctrl-C stops it."""
    with errors_reported("tensorrt", as_json=as_json, debug=debug):
        options = EngineOptions(
            api=api.value if api is not None else installed_api(),
            workspace_mib=workspace,
            optimization_level=level,
            hardware_compatible=hardware_compatible,
            compute_capabilities=tuple(dict.fromkeys(filter(None, compute_capability.replace(" ", "").split(",")))),
        )
        sizes = ProfileSizes(
            minimum=_size("min", minimum), optimum=_size("opt", optimum), maximum=_size("max", maximum), batch=batch
        )
        with build_shown() as on_progress:
            plan = export_plan(model, output, options, sizes, on_progress or _told_once(f"building an engine of {model} ..."))
        if as_json:
            say_json({"command": "tensorrt", "exit_code": 0, **plan.as_json()})
        else:
            _say_plan(plan)


def _told_once(line: str) -> OnProgress:
    """For where there is no terminal: says that a build has begun, so that it is not silent for minutes."""
    told = threading.Event()

    def tell(_fraction: float, _phase: str) -> None:
        if not told.is_set():
            told.set()
            note(line)

    return tell


def _size(name: str, text: str | None) -> Size | None:
    if text is None:
        return None
    match = SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise OptionsError(name, text, "HEIGHTxWIDTH in pixels, for example 480x640")
    return int(match[1]), int(match[2])


def _say_plan(plan: ExportedPlan) -> None:
    precision = plan.engine.precision
    source = "the engine inspector" if precision.source == "inspector" else "the network as parsed; no GPU here opened the plan"
    smallest, usual, largest = (size_text(shape) for shape in plan.profile.as_json().values())
    say(f"{plan.path}: {plan.size} bytes, sha256 {plan.sha256}")
    say(f"built with   {plan.engine.api} {plan.engine.version} in {plan.engine.seconds:.1f} s")
    say(f"inputs       {smallest} to {largest}, tuned for {usual}")
    say(f"FP16 layers  {precision.half} of {precision.total} ({precision.share:.0%}; source: {source})")
    say(f"spec         {sidecar_path(plan.path)}")
    for warning in plan.engine.warnings:
        note(f"TensorRT: {warning}")
