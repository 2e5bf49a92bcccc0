"""python -m export onnx: an ONNX file from a checkpoint, in FP32, FP16 or, experimentally, INT8."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from export.console import print_exported, print_int8
from export.flags import PRECISION_HELP, exporting
from export.produce import STEPS, Announce, Exported, ExportOptions, export_onnx
from export.to_int8 import MOST_LOSS_DB, ExportedInt8, export_int8
from export.to_int8 import STEPS as INT8_STEPS
from export.to_onnx import DEFAULT_OPSET, OPSETS
from export.tolerance import INT8
from restore_sdk.errors import OptionsError


class OnnxPrecision(StrEnum):
    """What an ONNX file can be written in."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = INT8


def _show(exported: Exported | ExportedInt8) -> None:
    if isinstance(exported, ExportedInt8):
        print_int8(exported)
    else:
        print_exported(exported)


@exporting("onnx", lambda precision: INT8_STEPS if precision == INT8 else STEPS, _show)
def onnx_command(
    *,
    checkpoint: Annotated[Path, typer.Argument(help="Run folder, its model.safetensors, or, for int8, an FP32 .onnx file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model file to write (.onnx).")],
    opset: Annotated[int, typer.Option(min=OPSETS.start, max=OPSETS.stop - 1, help="ONNX operator set.")] = DEFAULT_OPSET,
    precision: Annotated[OnnxPrecision, typer.Option(help=f"{PRECISION_HELP} int8 is experimental.")] = OnnxPrecision.FP32,
    max_loss_db: Annotated[
        float, typer.Option(min=0.0, metavar="DB", help="Most that int8 may lose on held-out images, dB.")
    ] = MOST_LOSS_DB,
    options: ExportOptions,
    announce: Announce,
) -> Exported | ExportedInt8:
    """Trace the network, compare it with PyTorch, measure its reach, halo and memory, stamp all that, and write one file."""
    if checkpoint.suffix == ".onnx" and opset != DEFAULT_OPSET:
        raise OptionsError("opset", opset, "nothing with an .onnx file, which keeps its own; pass a run folder to choose one")
    options = dataclasses.replace(options, opset=opset)
    if precision is OnnxPrecision.INT8:
        return export_int8(checkpoint, output, options, most_loss_db=max_loss_db, announce=announce)
    return export_onnx(checkpoint, output, options, announce)
