"""A torch.export program behind the Backend protocol: on the CPU, and on any GPU that PyTorch sees."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from restore_sdk.backends.base import FloatNCHW
from restore_sdk.backends.file_backend import FileBackend, described
from restore_sdk.backends.signature import Tensor, check_signature, check_threads
from restore_sdk.backends.torch_cuda import CudaProgram, CudaProgramBackend
from restore_sdk.backends.torch_file import EXPORT_AGAIN, KIND, TorchFile, read_program
from restore_sdk.backends.torch_half import widen_contractions
from restore_sdk.backends.vendor_errors import first_line, translated
from restore_sdk.errors import DeviceUnavailableError, ModelDamagedError, ModelSpecError, OptionsError, RestorerClosedError
from restore_sdk.extras import require
from restore_sdk.spec import METADATA_KEY, ModelSpec

# PyTorch's errors are RuntimeErrors; the guards of an exported program are assertions.
VENDOR = (RuntimeError, MemoryError, AssertionError)
# torch.export.load has no error of its own for a file of another release.
UNREADABLE = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, ImportError, UnpicklingError)
FLOAT32 = "torch.float32"


class Program(Protocol):
    """A loaded program on one device."""

    def run(self, batch: FloatNCHW, /) -> FloatNCHW:
        """float32 (N, C, H, W) in, the caller's own contiguous array out."""
        ...

    def close(self) -> None:
        """Release everything; a second call does nothing."""
        ...


class CpuProgram:
    """Runs a program in the calling thread, images in channels-last order, which is where PyTorch's convolutions are fastest."""

    def __init__(self, torch: ModuleType, module: Any) -> None:
        self._torch, self._module = torch, module

    def run(self, batch: FloatNCHW, /) -> FloatNCHW:
        module = self._module  # our own reference: close() on another thread may not free it under a running call
        if module is None:
            raise RestorerClosedError
        rows = np.array(batch.transpose(0, 2, 3, 1), order="C")  # a copy: PyTorch takes no array that may not be written
        with self._torch.inference_mode():
            restored = module(self._torch.from_numpy(rows).permute(0, 3, 1, 2)).contiguous()
        result: FloatNCHW = restored.numpy()
        return result

    def close(self) -> None:
        self._module = None


class TorchProgramBackend(FileBackend):
    """One loaded program on the CPU; CudaProgramBackend is its sister on a GPU."""

    def __init__(self, program: Program, spec: ModelSpec, report: Mapping[str, object]) -> None:
        super().__init__(spec, report, VENDOR)
        self._program = program

    def _run(self, batch: FloatNCHW) -> FloatNCHW:
        return self._program.run(batch)

    def close(self) -> None:
        """Release everything; a second call does nothing."""
        self._program.close()


def open_torch_program(
    path: Path,
    *,
    sha256: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = False,
    compiled: bool = False,
    chosen: str | None = None,
) -> TorchProgramBackend | CudaProgramBackend:
    """Open the .pt2 file at `path`, written by `python -m export torch`.

    sha256    expected digest, hexadecimal; None: the one in PATH.sha256. Compared before PyTorch sees a byte.
    device    "cpu", "cuda", "cuda:N", or "auto": CUDA where PyTorch sees a GPU, else the CPU.
    threads   threads inside one operator on the CPU, which PyTorch keeps for the whole process; None: as they are set.
    spinning  False: how idle threads wait is for OMP_WAIT_POLICY to say, before the process starts.
    compiled  pass the program through torch.compile, on CUDA only: a few per cent for some tens of seconds at the first shape.
    chosen    why "auto" came here, for report().

    Raises ModelHashError, ModelDamagedError, ModelSpecError, DeviceUnavailableError, OptionsError, BackendError and
    MissingExtraError.
    """
    check_threads(threads)
    if spinning:
        raise OptionsError("spinning", spinning, "False: set OMP_WAIT_POLICY=ACTIVE before the process starts")
    file = read_program(path, sha256=sha256)
    torch = require("torch", "torch")
    place = _place(torch, device)
    if compiled and place == "cpu":
        raise OptionsError("compiled", compiled, "False on the CPU")
    exported, spec = _load(torch, file)
    _check_exported(exported, spec)
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        program = _on_cpu(torch, exported) if place == "cpu" else _on_cuda(torch, exported, place, compiled)
    except VENDOR as exc:
        raise translated(f"PyTorch {torch.__version__} cannot open {path} on {place}", exc, None) from exc
    report = _report(torch, spec, place, compiled, chosen)
    if isinstance(program, CudaProgram):
        return CudaProgramBackend(program, spec, report, VENDOR)
    return TorchProgramBackend(program, spec, report)


def _load(torch: ModuleType, file: TorchFile) -> tuple[Any, ModelSpec]:
    """The program in `file` and the spec stamped into it."""
    if METADATA_KEY not in file.metadata:
        raise ModelSpecError(f"{file.path} has no spec", EXPORT_AGAIN)
    spec = ModelSpec.from_json(file.metadata[METADATA_KEY], sha256=file.sha256)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable")  # PyTorch 2.11's own, on its own buffer
            return torch.export.load(io.BytesIO(file.content)), spec
    except UNREADABLE as exc:
        reason = f"PyTorch {torch.__version__} refuses it ({first_line(exc)}); {EXPORT_AGAIN}"
        raise ModelDamagedError(file.path, reason, kind=KIND) from exc


def _check_exported(exported: Any, spec: ModelSpec) -> None:
    nodes = {node.name: node for node in exported.graph.nodes}
    takes, gives = (
        [nodes[name].meta["val"] for name in names if name in nodes]
        for names in (exported.graph_signature.user_inputs, exported.graph_signature.user_outputs)
    )
    named = spec.inputs if len(takes) == len(spec.inputs) else exported.graph_signature.user_inputs
    inputs = [Tensor(name, str(value.dtype), _shape(value)) for name, value in zip(named, takes, strict=True)]
    outputs = [Tensor("restored", str(value.dtype), _shape(value)) for value in gives]
    check_signature(inputs, outputs, spec, float_kind=FLOAT32)


def _shape(value: Any) -> Sequence[int | str]:
    """Symbolic axes as text."""
    return [axis if isinstance(axis, int) else str(axis) for axis in value.shape]


def _place(torch: ModuleType, device: str) -> str:
    """ "cpu" or "cuda:N" for what was asked. Raises DeviceUnavailableError and OptionsError."""
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise OptionsError("device", device, "'auto', 'cpu', 'cuda' or 'cuda:N'")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and count == 0):
        return "cpu"
    number = int(device.partition(":")[2] or 0)
    if number >= count:
        available = ["cpu", *(f"cuda:{index}" for index in range(count))]
        raise DeviceUnavailableError(device, available, "install NVIDIA's driver and PyTorch's CUDA build, or pass device='cpu'")
    return f"cuda:{number}"


def _on_cpu(torch: ModuleType, exported: Any) -> CpuProgram:
    module = exported.module().to(memory_format=torch.channels_last)
    widen_contractions(torch, module)
    return CpuProgram(torch, module)


def _on_cuda(torch: ModuleType, exported: Any, place: str, compiled: bool) -> CudaProgram:
    moved = require("torch.export.passes", "torch").move_to_device_pass(exported, place)
    module = moved.module().to(memory_format=torch.channels_last)
    return CudaProgram(torch, torch.compile(module) if compiled else module, place)


def _report(torch: ModuleType, spec: ModelSpec, place: str, compiled: bool, chosen: str | None) -> dict[str, object]:
    where: dict[str, object] = {"threads": torch.get_num_threads()}
    if place != "cpu":
        where = {"gpu": torch.cuda.get_device_name(place), "cuda": torch.version.cuda, "compiled": compiled}
    return described(spec, backend="torch", version=str(torch.__version__), device=place, chosen=chosen, **where)
