"""What python -m export is made of: from a checkpoint to a model file, and what can be asked of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from export.card import write_card
from export.console import print_carded, print_verification
from export.flags import Threads, Tolerance
from export.onnx_command import onnx_command
from export.tensorrt_command import tensorrt_command
from export.torch_command import torch_command
from export.verify import verify
from restore_sdk.cli.console import errors_reported, say_json
from restore_sdk.cli.exit_codes import ExitCode
from restore_sdk.cli.flags import Debug, Json
from restore_sdk.cli.program import Program

EXIT_CODES = (
    "Exit codes: 0 done; 1 the numbers differ (verify) or internal error; 2 wrong usage; 3 the output cannot be written; "
    "4 checkpoint or model missing, damaged or failing a check; 5 extra missing or runtime failed; 7 out of memory; "
    "130 interrupted."
)

app = typer.Typer(
    name="export",
    cls=Program,
    help="From a checkpoint to one self-describing model file.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("verify", epilog=EXIT_CODES)
def verify_command(
    *,
    model: Annotated[Path, typer.Argument(help="Model file with a spec: .onnx, .pt2 or, where its GPU is, .plan.")],
    against: Annotated[Path, typer.Option(help="Run folder, model.safetensors, or another .onnx or .pt2 file.")],
    tolerance: Tolerance = None,
    threads: Threads = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare a model's numbers with a checkpoint's or another model's, at odd, minimum, tall, wide, batched and large inputs."""
    with errors_reported("verify", as_json=as_json, debug=debug):
        verification = verify(model, against, tolerance=tolerance, threads=threads)
        code = ExitCode.OK if verification.passed else ExitCode.INTERNAL
        if as_json:
            compared = {"model": str(model), "against": str(against), **verification.as_json()}
            say_json({"command": "verify", "exit_code": int(code), **compared})
        else:
            print_verification(verification, model, against)
    raise typer.Exit(code)


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
            say_json({"command": "card", "exit_code": 0, **carded.as_json()})
        else:
            print_carded(carded)


app.command("onnx", epilog=EXIT_CODES)(onnx_command)
app.command("tensorrt", epilog=EXIT_CODES)(tensorrt_command)
app.command("torch", epilog=EXIT_CODES)(torch_command)
