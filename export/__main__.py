"""python -m export: from a checkpoint to a model file, and what can be asked of one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from export.card import write_card
from export.console import print_carded, print_exported, print_verification, steps_shown
from export.keep_fp32 import parse_keep
from export.produce import STEPS, ExportOptions, export_onnx
from export.tensorrt_command import tensorrt_command
from export.to_onnx import DEFAULT_OPSET, OPSETS
from export.tolerance import Precision
from export.torch_command import torch_command
from export.verify import verify
from restore_sdk.cli.console import errors_reported, say_json
from restore_sdk.cli.exit_codes import ExitCode

EXIT_CODES = (
    "Exit codes: 0 done; 1 the numbers differ (verify) or internal error; 2 wrong usage; 3 the output cannot be written; "
    "4 checkpoint or model missing, damaged or failing a check; 5 extra missing or runtime failed; 7 out of memory; "
    "130 interrupted."
)

app = typer.Typer(
    name="export",
    help="From a checkpoint to one self-describing model file.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Threads: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Threads of ONNX Runtime.", show_default="one per core")]
Tolerance: TypeAlias = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Largest difference of the outputs, which lie in [0, 1].",
        show_default="1e-4 in fp32; 1e-2 and 60 dB in fp16",
    ),
]


@app.command("onnx", epilog=EXIT_CODES)
def onnx_command(
    *,
    checkpoint: Annotated[Path, typer.Argument(help="Run folder, or its model.safetensors.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model file to write (.onnx).")],
    opset: Annotated[int, typer.Option(min=OPSETS.start, max=OPSETS.stop - 1, help="ONNX operator set.")] = DEFAULT_OPSET,
    precision: Annotated[
        Precision, typer.Option(help="Of weights and activations; input and output stay float32.")
    ] = Precision.FP32,
    keep_fp32: Annotated[
        str,
        typer.Option(metavar="NAME[,NAME...]|auto", help="Modules that stay float32 in fp16; auto: as few as can be found."),
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the model.", show_default="the checkpoint's")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the weights.", show_default="the checkpoint's")] = "",
    calibration: Annotated[
        Path | None,
        typer.Option(help="Folder of images to measure fast tiles and fp16 on.", show_default="textures; for fp16, examples"),
    ] = None,
    tolerance: Tolerance = None,
    threads: Threads = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Trace the network, compare it with PyTorch, measure its reach, halo and memory, stamp all that, and write one file."""
    with errors_reported("onnx", as_json=as_json, debug=debug):
        options = ExportOptions(
            opset=opset,
            precision=precision,
            keep_fp32=parse_keep(keep_fp32),
            name=name,
            licence=licence,
            calibration=calibration,
            tolerance=tolerance,
            threads=threads,
        )
        with steps_shown(STEPS) as announce:
            exported = export_onnx(checkpoint, output, options, announce)
        if as_json:
            say_json(exported.as_json())
        else:
            print_exported(exported)


@app.command("verify", epilog=EXIT_CODES)
def verify_command(
    *,
    model: Annotated[Path, typer.Argument(help="Model file (.onnx) with a spec.")],
    against: Annotated[Path, typer.Option(help="Run folder, model.safetensors, or another .onnx file.")],
    tolerance: Tolerance = None,
    threads: Threads = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare a model's numbers with a checkpoint's or another model's, at odd, minimum, tall, wide, batched and large inputs."""
    with errors_reported("verify", as_json=as_json, debug=debug):
        verification = verify(model, against, tolerance=tolerance, threads=threads)
        if as_json:
            say_json({"model": str(model), "against": str(against), **verification.as_json()})
        else:
            print_verification(verification, model, against)
        if not verification.passed:
            raise typer.Exit(ExitCode.INTERNAL)


@app.command("card", epilog=EXIT_CODES)
def card_command(
    *,
    model: Annotated[Path, typer.Argument(help="Model file (.onnx) with a spec.")],
    quality: Annotated[
        Path | None, typer.Option(help='JSON list of {"set", "sigma", "psnr", "ssim"}.', show_default="kept")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to write.", show_default="MODEL")] = None,
    registry: Annotated[
        Path | None, typer.Option(help="models.json to update: sha256, size, quality.", show_default="none")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights.", show_default="kept")] = None,
    trained_on: Annotated[str | None, typer.Option(help="Training data.", show_default="kept")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write measured quality into a model's spec. The graph and its weights stay byte for byte."""
    with errors_reported("card", as_json=as_json, debug=debug):
        carded = write_card(model, quality, target=output, registry=registry, licence=licence, trained_on=trained_on)
        if as_json:
            say_json(carded.as_json())
        else:
            print_carded(carded)


app.command("tensorrt", epilog=EXIT_CODES)(tensorrt_command)
app.command("torch", epilog=EXIT_CODES)(torch_command)


def main() -> None:
    """Run the program and leave with its exit code."""
    try:
        app(prog_name="python -m export")
    except KeyboardInterrupt:  # before or after a command, whose own edge reports it
        sys.exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()
