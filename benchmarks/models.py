"""The network under test: as a file, as a bare session, or as a training checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.flops import count_flops, count_parameters
from benchmarks.schema import Model
from restore_sdk.backends.base import Backend, FloatNCHW
from restore_sdk.backends.choice import CANDIDATES, fastest
from restore_sdk.backends.function import FunctionBackend
from restore_sdk.backends.measuring import measure
from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.errors import OptionsError
from restore_sdk.spec import ModelSpec
from restore_sdk.zoo.registry import find_model

CHECKPOINT_SUFFIX = ".safetensors"
FASTEST = "fastest"  # of the CPU runtimes that are installed, measured first, as `restore doctor --measure` does
BACKENDS = (FASTEST, *CANDIDATES)


def is_checkpoint(model: str) -> bool:
    """Whether `model` is a training checkpoint (a .safetensors file or a run folder) rather than a name or an ONNX file."""
    path = Path(model)
    return path.suffix == CHECKPOINT_SUFFIX or path.is_dir()


def read_spec(path: Path) -> ModelSpec:
    """The spec stamped into the ONNX file."""
    file = read_onnx(path)
    return ModelSpec.from_metadata(file.metadata, sha256=file.sha256)


def model_facts(path: Path) -> Model:
    """What the results say about the ONNX model in `path`."""
    spec = read_spec(path)
    side = 64 * spec.size_multiple
    return Model(
        name=spec.name,
        sha256=spec.sha256,
        parameters=count_parameters(path),
        gflop_per_megapixel=round(count_flops(path, side, side) / side**2 / 1000, 2),
        receptive_radius=spec.receptive_radius,
        size_multiple=spec.size_multiple,
        bytes_per_pixel=spec.bytes_per_pixel,
    )


def find_onnx(model: str) -> Path:
    """Path of a bundled name or an ONNX file. Raises OptionsError for a checkpoint, ModelNotFoundError for neither."""
    if model and is_checkpoint(model):
        raise OptionsError("--model", model, "ONNX, and this is a checkpoint: run `python -m export onnx` first")
    return find_model(model)[0]


def chosen_backend(wish: str, path: Path, threads: int) -> str:
    """The name of a backend for one of BACKENDS."""
    return fastest(measure(path, threads=threads)).backend if wish == FASTEST else wish


def bare_session(path: Path, threads: int, *, spinning: bool = False) -> onnxruntime.InferenceSession:
    """ONNX Runtime alone on the CPU, with the settings that a restore uses."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def prepared(image: NDArray[np.uint8]) -> FloatNCHW:
    """(H, W, 3) uint8 as the (1, 3, H, W) float32 tensor in [0, 1] that a network takes."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def open_checkpoint(path: Path, threads: int) -> tuple[Backend, Model]:
    """A checkpoint behind the Backend protocol, run by PyTorch on the CPU, and its facts."""
    import torch  # noqa: PLC0415 (a runtime benchmark must not load it)

    from training.engine.checkpoint import load_network  # noqa: PLC0415

    torch.set_num_threads(threads)
    network, card = load_network(path)
    multiple = int(getattr(network, "size_multiple", 1))
    name, method = str(card.get("name", path.stem)), str(card.get("method", ""))
    spec = ModelSpec(name=name, method=method, task="denoise", size_multiple=multiple)

    @torch.inference_mode()
    def run(batch: FloatNCHW) -> FloatNCHW:
        return np.asarray(network(torch.from_numpy(np.ascontiguousarray(batch))).numpy(), np.float32)

    parameters = sum(weights.numel() for weights in network.parameters())
    facts = Model(name=f"{spec.name} (checkpoint)", sha256="", parameters=parameters, size_multiple=multiple)
    return FunctionBackend(spec, run), facts
