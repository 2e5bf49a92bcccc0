"""Bytes of peak memory for each pixel of a tile: k of the memory model.

Each size runs in a fresh process (`python -m export.peak_memory MODEL SIDE`), because the peak of a process never falls.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from export.errors import ExportError
from export.run_count import numbered, uncounted
from restore_sdk.backends.opening import open_backend
from restore_sdk.backends.wishes import PROGRAM_SUFFIX

SIDES = (512, 896, 1216)  # pixels; the last is about as large as the tiles that the runtime chooses
PASSES = 2  # over the shapes of a plan: the allocator keeps what one shape needed and may find it unfit for the next
HALO_SHARE = 16  # a tile at the border is about a sixteenth shorter than one inside, which has a halo on both sides
ROUNDED_TO = 10  # bytes; the peak repeats to within a per cent, and equal exports should give equal files


def bytes_per_pixel(
    model: Path, size_multiple: int, sides: Sequence[int] = SIDES, on_run: Callable[[int], None] = uncounted
) -> float:
    """Most peak memory per pixel of the largest tile, over `sides`: what tiles add to a process that ran one pixel block, divided
    by their pixels, rounded up. `on_run` is told of each process that ended. Raises ExportError."""
    ran = numbered(on_run)

    def peak(side: int) -> int:
        found = _peak_in_fresh_process(model, side)
        ran()
        return found

    base = peak(size_multiple)
    used = sorted({max(1, side // size_multiple) * size_multiple for side in sides})
    most = max((peak(side) - base) / side**2 for side in used)
    return float(max(ROUNDED_TO, np.ceil(most / ROUNDED_TO) * ROUNDED_TO))


def _peak_in_fresh_process(model: Path, side: int) -> int:
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "export.peak_memory", str(model), str(side)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ExportError(f"the model cannot run on {side} x {side} pixels ({last})", "free memory and export again")
    return int(done.stdout)


def run_once(model: Path, side: int) -> int:
    """Peak resident memory of this process, bytes, after the tiles of a plan whose largest has `side` pixels a side."""
    name = "torch" if model.suffix == PROGRAM_SUFFIX else "onnxruntime"
    backend = open_backend(model, backend=name, device="cpu", threads=1)
    multiple = backend.spec.size_multiple
    shorter = max(multiple, (side - side // HALO_SHARE) // multiple * multiple)
    for height, width in [*product((shorter, side), repeat=2)] * PASSES:
        backend.infer(np.full((1, backend.spec.channels, height, width), 0.5, np.float32))
    return peak_resident()


def peak_resident() -> int:
    """Highest resident memory of this process so far, bytes.

    Linux counts ru_maxrss across exec, so a child starts with its parent's peak; VmHWM in /proc does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])
    resource = importlib.import_module("resource")  # absent on Windows
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    sys.stdout.write(str(run_once(Path(sys.argv[1]), int(sys.argv[2]))))
