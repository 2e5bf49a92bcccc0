"""python -m export torch: a torch.export program from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from export.console import print_exported
from export.flags import PRECISION_HELP, Source, exporting
from export.produce import Announce, Exported, ExportOptions
from export.to_torch import STEPS, export_torch
from export.tolerance import Precision


@exporting("torch", lambda precision: STEPS, print_exported)
def torch_command(
    *,
    checkpoint: Source,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Program to write (.pt2); its sha256 goes to .pt2.sha256 beside it.")
    ],
    precision: Annotated[Precision, typer.Option(help=PRECISION_HELP)] = Precision.FP32,
    options: ExportOptions,
    announce: Announce,
) -> Exported:
    """Trace the network as a torch.export program, with all that the ONNX export measures stamped into it."""
    return export_torch(checkpoint, output, options, announce)
