"""`restore image`: its flags, and what they mean to the SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from restore_sdk.cli import dip_flags
from restore_sdk.cli.console import errors_reported
from restore_sdk.cli.exit_codes import UsageError
from restore_sdk.cli.flags import Building, Debug, FinitePolicy, Json, Metadata, Settings
from restore_sdk.options import DIP_TASKS, SMALLEST_CORE, TileChoice

LONGEST_NUMBER = 10  # digits of --tile

Inputs: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="IN", help="Image files, folders with all below them, or quoted globs, ** too."),
]
Out: TypeAlias = Annotated[
    str, typer.Option("--out", "-o", metavar="OUT", help="A file for one input file, else a folder; the tree below IN is kept.")
]
Model: TypeAlias = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A bundled model's name, as `restore models list` has them, the path of a model file, or a fit to each image: "
        f"{', '.join(DIP_TASKS)}.",
    ),
]
BackendName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="auto|tensorrt|onnxruntime|openvino|torch",
        help="What runs the model; auto: TensorRT, CUDA, or what `restore doctor --measure` found fastest on the CPU; torch runs "
        ".pt2 files; onnxruntime-tensorrt and onnxruntime-rtx are ONNX Runtime's own ways to TensorRT.",
    ),
]
Device: TypeAlias = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where it runs; cuda:N: GPU number N.")]
Tile: TypeAlias = Annotated[
    str,
    typer.Option(
        "--tile",
        metavar="auto|exact|fast|N",
        help="How large images are cut: by the memory at hand, with the same bits as the whole image (auto, exact), "
        "with a smaller halo (fast), or exact with cores of N pixels; for -m dip-...: auto, or N, the side of a tile.",
    ),
]
Keep: TypeAlias = Annotated[Metadata, typer.Option("--metadata", help="Keep or strip EXIF and colour profile.")]
Compare: TypeAlias = Annotated[
    Path | None, typer.Option("--compare", metavar="STRIP.png", help="Also write a before | after strip; for one input only.")
]
Quality: TypeAlias = Annotated[
    int | None,
    typer.Option("--quality", min=1, max=100, help="Of JPEG, WebP and AVIF targets; 95 if left out. The others are lossless."),
]
Overwrite: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Replace targets that exist, the input itself included.")]
Threads: TypeAlias = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; one for each physical core if left out.")
]

Build: TypeAlias = Annotated[
    Building, typer.Option("--build", help="A TensorRT engine that is not kept yet: wait for it, build it meanwhile, or never.")
]
Finite: TypeAlias = Annotated[
    FinitePolicy, typer.Option("--finite", help="NaN or infinity from a TensorRT engine: an error, FP32 instead, or let it be.")
]


@dip_flags.takes_dip_flags(without="warm")
def image(
    inputs: Inputs,
    *,
    out: Out,
    model: Model = "denoise",
    backend: BackendName = "auto",
    device: Device = "auto",
    tile: Tile = "auto",
    metadata: Keep = Metadata.KEEP,
    quality: Quality = None,
    compare: Compare = None,
    overwrite: Overwrite = False,
    threads: Threads = None,
    build: Build = Building.WAIT,
    finite: Finite = FinitePolicy.RAISE,
    flags: dip_flags.DipFlags,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Restore image files, folders or globs."""
    with errors_reported("image", as_json=as_json, debug=debug, files=[]):
        from restore_sdk.cli.restoring import restore_images  # noqa: PLC0415 loads numpy and OpenCV

        opening = {"model": model, "backend": backend, "device": device, "threads": threads, "build": build, "finite": finite}
        writing = {"metadata": metadata, "overwrite": overwrite, "compare": compare, "quality": quality}
        settings = Settings(tile=tile_choice(tile), **opening, **writing)  # type: ignore[arg-type]
        if dip_flags.means_fit(model):
            from restore_sdk.cli.dip import restore_dip  # noqa: PLC0415 the same

            code = restore_dip(inputs, out, settings, flags, as_json=as_json, debug=debug)
        else:
            flags.check_unused(model)
            code = restore_images(inputs, out, settings, as_json=as_json, debug=debug)
    raise typer.Exit(code)


def tile_choice(text: str) -> TileChoice:
    """--tile as the SDK takes it. Raises UsageError."""
    if text in ("auto", "exact", "fast"):
        return text  # type: ignore[return-value]
    if not (text.isdecimal() and len(text) < LONGEST_NUMBER and int(text) >= SMALLEST_CORE):
        raise UsageError(f"--tile {text!r}, expected auto, exact, fast or a number of pixels of at least {SMALLEST_CORE}")
    return int(text)
