"""From a checkpoint to a torch.export program (.pt2) with the same spec as the ONNX file, less what only ONNX has.

Everything that a spec promises is measured as for an ONNX file, by making one; then the program is traced from the same network,
loaded as a user will load it, compared with PyTorch at every shape, and its tiles with its whole image.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from export.calibration import calibration
from export.checkpoint import Checkpoint, load_checkpoint
from export.errors import ExportError, OutputError
from export.files import check_target
from export.halo import calibration_side, check_exact_tiles
from export.peak_memory import bytes_per_pixel
from export.precision import half_wrapped
from export.produce import STEPS as ONNX_STEPS
from export.produce import Announce, Exported, ExportOptions, export_onnx
from export.run_count import counting
from export.stamp import sha256
from export.to_onnx import AXES, INPUT
from export.verify import Verification, allowed_difference, compare
from restore_sdk.backends.base import Backend
from restore_sdk.backends.torch_file import sidecar, sidecar_text
from restore_sdk.backends.torch_program import open_torch_program
from restore_sdk.backends.wishes import PROGRAM_SUFFIX
from restore_sdk.extras import require
from restore_sdk.spec import METADATA_KEY, ModelSpec
from training.engine.files import replacing

if TYPE_CHECKING:
    from torch import nn

STEPS = (*ONNX_STEPS[:-1], "program", "verify program", "write")
NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
ONLY_ONNX = ("opset",)  # fields of spec.source


def export_torch(
    checkpoint: Path, target: Path, options: ExportOptions | None = None, announce: Announce = lambda step: None
) -> Exported:
    """Write the network of `checkpoint`, a run folder or its model.safetensors, to `target` as a stamped torch.export program,
    and its sha256 to `target`.sha256.

    `announce` is called with each of STEPS as it begins. Raises what export_onnx raises; an existing `target` is then left as it
    was. An FP16 program is checked on the CPU with half values and float32 sums, as a GPU computes.
    """
    options = options or ExportOptions()
    check_target(target, PROGRAM_SUFFIX, source=checkpoint)
    check_target(sidecar(target), ".sha256")
    onnx = _as_onnx(checkpoint, options, announce)
    announce("program")
    loaded = load_checkpoint(checkpoint)
    network = loaded.network if onnx.gate is None else half_wrapped(loaded.network, onnx.gate.keep)
    program = trace_program(network, loaded.channels, loaded.size_multiple)
    spec = _without_onnx(onnx.spec)
    announce("verify program")
    spec = _with_memory(program, spec, options)
    with on_disk(serialised(program, spec)) as path, _opened(path, options.threads) as backend:
        verification = _verified(backend, loaded, options)
        tile_error = _tile_error(counting(backend, options.on_run), loaded, options)
        content = path.read_bytes()
    announce("write")
    _write(target, content)
    digest = sha256(content)
    spec = dataclasses.replace(spec, sha256=digest)
    return Exported(target, digest, len(content), spec, verification, onnx.measured_radius, tile_error, onnx.gate)


def trace_program(network: nn.Module, channels: int, size_multiple: int) -> Any:
    """torch.export.ExportedProgram of `network`, (batch, channels, height, width) float32 in and out, height and width any
    multiples of `size_multiple`. Raises ExportError if it cannot be traced so."""
    torch = require("torch", "export")
    config = require("torch.fx.experimental._config", "export")
    example = torch.zeros(2, channels, 6 * size_multiple, 10 * size_multiple)
    axes = {axis: torch.export.Dim(name) * (1 if axis == 0 else size_multiple) for axis, name in AXES.items()}
    try:
        # without it one tile of exactly the multiple would be taken for a special case and refused
        with config.patch(backed_size_oblivious=True), torch.no_grad():
            program = torch.export.export(_named(torch, network), (example,), dynamic_shapes={INPUT: axes})
    except (RuntimeError, ValueError, torch._dynamo.exc.UserError) as exc:
        lines = [line for line in str(exc).splitlines() if line.strip()]
        gist = lines[0] if lines else type(exc).__name__
        raise ExportError(f"PyTorch cannot export the network ({gist})", "remove what ties the network to one size") from exc
    _strip(program)
    return program


def _strip(program: Any) -> None:
    """No stack traces with paths of this machine, no module names, and no example: nothing but the graph and its weights."""
    program.example_inputs = None
    for module in program.graph_module.modules():
        for node in module.graph.nodes:
            for note in NOTES:
                node.meta.pop(note, None)


def _named(torch: Any, network: nn.Module) -> nn.Module:
    """`network` with its one input called as the spec calls it."""

    class Named(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Any) -> Any:
            return self.network(image)

    named: nn.Module = Named().eval()
    return named


def serialised(program: Any, spec: ModelSpec) -> bytes:
    """Bytes of `program` with `spec` in it; the same each time."""
    torch = require("torch", "export")
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA_KEY: spec.to_json()})
    return buffer.getvalue()


@contextmanager
def on_disk(content: bytes) -> Iterator[Path]:
    """Path of `content` with its digest beside it, in a folder that is gone afterwards."""
    with TemporaryDirectory(prefix="restore-export-") as folder:
        path = Path(folder) / f"model{PROGRAM_SUFFIX}"
        _write(path, content)
        yield path


def _as_onnx(checkpoint: Path, options: ExportOptions, announce: Announce) -> Exported:
    """What an ONNX export of the same network measures."""
    shown: Callable[[str], None] = lambda step: announce(step) if step in STEPS[:-1] else None  # noqa: E731 typed here
    with TemporaryDirectory(prefix="restore-export-") as folder:
        return export_onnx(checkpoint, Path(folder) / "model.onnx", options, shown)


def _without_onnx(spec: ModelSpec) -> ModelSpec:
    source = {name: value for name, value in spec.source.items() if name not in ONLY_ONNX}
    return dataclasses.replace(spec, source=source, sha256="")


def _with_memory(program: Any, spec: ModelSpec, options: ExportOptions) -> ModelSpec:
    """PyTorch keeps other activations alive than ONNX Runtime."""
    with on_disk(serialised(program, spec)) as path:
        memory = bytes_per_pixel(path, spec.size_multiple, options.memory_sides, options.on_run)
    return dataclasses.replace(spec, bytes_per_pixel=memory)


@contextmanager
def _opened(path: Path, threads: int | None) -> Iterator[Backend]:
    backend = open_torch_program(path, device="cpu", threads=threads)
    try:
        yield backend
    finally:
        backend.close()


def _verified(backend: Backend, loaded: Checkpoint, options: ExportOptions) -> Verification:
    allowed = allowed_difference(options.tolerance, options.precision)
    form = (loaded.channels, loaded.size_multiple, allowed.max_abs)
    found = compare(backend.infer, loaded.infer, *form, least_psnr=allowed.psnr, fill=loaded.fill)
    found.check()
    return found


def _tile_error(backend: Backend, loaded: Checkpoint, options: ExportOptions) -> float | None:
    radius, multiple = backend.spec.receptive_radius, loaded.size_multiple
    if radius is None:
        return None
    images = calibration(options.calibration, loaded.channels, calibration_side(radius, multiple)).seen_by(loaded.fill)
    return check_exact_tiles(backend, images, radius, multiple)


def _write(path: Path, content: bytes) -> None:
    """Both files are whole before either gets its name. Raises OutputError."""
    try:
        with replacing(sidecar(path)) as digest, replacing(path) as program:
            program.write_bytes(content)
            digest.write_text(sidecar_text(path.name, sha256(content)), encoding="ascii")
    except OSError as exc:
        raise OutputError(path, f"{exc.strerror or exc}; free the space or choose another folder") from exc
