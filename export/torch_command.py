"""python -m export torch: a torch.export program from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from export.console import print_exported, steps_shown
from export.keep_fp32 import parse_keep
from export.produce import ExportOptions
from export.to_torch import STEPS, export_torch
from export.tolerance import Precision
from restore_sdk.cli.console import errors_reported, say_json
from restore_sdk.cli.flags import Debug, Json

Chosen: TypeAlias = Annotated[Precision, typer.Option(help="Of weights and activations; input and output stay float32.")]
Keep: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME[,NAME...]|auto", help="Modules that stay float32 in fp16; auto: as few as can be found.")
]
Name: TypeAlias = Annotated[str, typer.Option(help="Name of the model.", show_default="the checkpoint's")]
Licence: TypeAlias = Annotated[str, typer.Option(help="Licence of the weights.", show_default="the checkpoint's")]
Images: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Folder of images to measure tiles and fp16 on.", show_default="textures; for fp16, examples"),
]
Tolerance: TypeAlias = Annotated[
    float | None,
    typer.Option(min=0.0, help="Largest difference of the outputs.", show_default="1e-4 in fp32; 1e-2 and 60 dB in fp16"),
]
Threads: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Threads of the checks.", show_default="one per core")]


def torch_command(
    *,
    checkpoint: Annotated[Path, typer.Argument(help="Run folder, or its model.safetensors.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Program to write (.pt2); its sha256 goes to .pt2.sha256 beside it.")
    ],
    precision: Chosen = Precision.FP32,
    keep_fp32: Keep = "",
    name: Name = "",
    licence: Licence = "",
    calibration: Images = None,
    tolerance: Tolerance = None,
    threads: Threads = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Trace the network as a torch.export program, with all that the ONNX export measures stamped into it."""
    with errors_reported("torch", as_json=as_json, debug=debug):
        options = ExportOptions(
            precision=precision,
            keep_fp32=parse_keep(keep_fp32),
            name=name,
            licence=licence,
            calibration=calibration,
            tolerance=tolerance,
            threads=threads,
        )
        with steps_shown(STEPS) as announce:
            exported = export_torch(checkpoint, output, options, announce)
        if as_json:
            say_json(exported.as_json())
        else:
            print_exported(exported)
