"""Facts about this machine and probes of what it can do at most."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.schema import Host

HERE = Path(__file__).parent
PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "torch", "scikit-image")
RUNTIMES = ("onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "cuda-core")
PROBE_SECONDS = 0.25


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """Vendor and model as the system gives them, and the family numbers where the name alone is vague."""
    text = _read("/proc/cpuinfo")
    found = {key: match.group(1).strip() for key in ("model name", "cpu family", "model") if (match := _field(text, key))}
    if "model name" not in found:
        return platform.processor() or platform.machine()
    return f"{found['model name']} (family {found.get('cpu family', '?')}, model {found.get('model', '?')})"


def gpu_name() -> str:
    """The first GPU's name as NVIDIA's driver gives it; "" without one."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return names[0].strip() if names else ""


def machine_slug(host: Host) -> str:
    """A short file-name part: "amd-epyc-2-cores", with a GPU's name behind it where there is one."""
    name = re.sub(r"\(family.*|\((r|tm)\)|@.*|\bcpu\b|\bprocessor\b", " ", host.cpu.lower())
    words = re.findall(r"[a-z0-9]+", name)[:4]
    return "-".join([*words, str(host.cores), "cores", *re.findall(r"[a-z0-9]+", host.gpu.lower())])


def host_facts(
    threads: int,
    *,
    peak: float | None = None,
    source: str = "not measured",
    sgemm: float | None = None,
    packages: tuple[str, ...] = (),
) -> Host:
    """Host record; peak and sgemm in GFLOP/s. `packages` whose versions matter beside the usual ones."""
    return Host(
        cpu=cpu_name(),
        cores=available_cores(),
        threads=threads,
        ram_gb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        os=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages=installed_versions((*PACKAGES, *packages)),
        peak_gflops=peak,
        peak_source=source,
        gpu=gpu_name(),
        sgemm_gflops=sgemm,
    )


def installed_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of those of `names` that are installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def source_commit() -> str:
    """Commit of the checkout, with "+" when files differ from it; "" outside a repository."""
    try:
        return _git("rev-parse", "--short=12", "HEAD") + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True, check=True).stdout.strip()


class PeakProbe:
    """Measures the FP32 peak with a register-only FMA loop (needs gcc on Linux), otherwise with a large matrix product.

    Each sample is a rate by the wall clock, which other programs lower, and one by CPU time, which they do not. Use it in a
    `with` block: it keeps the compiled loop in a temporary folder.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._folder = tempfile.TemporaryDirectory(prefix="restore-bench-")
        self._programs = _compile_loops(Path(self._folder.name))
        self.source = "register-only FMA loop" if self._programs else "sgemm 2048^3 (no C compiler, so no FMA loop)"
        self.samples: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._folder.cleanup()

    def measure(self) -> None:
        """Take one sample of all threads together."""
        self.samples.append(max(map(self._run, self._programs)) if self._programs else (sgemm_gflops(self.threads),) * 2)

    @property
    def peak(self) -> float:
        """GFLOP/s of all threads with the machine to themselves."""
        return max(cpu for _, cpu in self.samples)

    @property
    def variation(self) -> float:
        """Percent of the peak that the median sample missed by the wall clock: how busy the machine was with other work."""
        return 100 * (1 - statistics.median(wall for wall, _ in self.samples) / self.peak)

    def _run(self, program: Path) -> tuple[float, float]:
        done = subprocess.run([program, str(self.threads), str(PROBE_SECONDS)], capture_output=True, text=True, check=True)
        wall, cpu = map(float, done.stdout.split())
        return wall, cpu


def sgemm_gflops(threads: int) -> float:
    """Best of five FP32 products of 2048x2048 matrices with numpy's BLAS, in a fresh process so that `threads` is respected."""
    limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    child = [sys.executable, str(HERE / "children" / "sgemm.py")]
    done = subprocess.run(child, capture_output=True, text=True, check=True, env={**os.environ, **limits})
    return float(done.stdout)


def _compile_loops(folder: Path) -> list[Path]:
    compiler = shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return []
    programs = []
    for number, flags in enumerate(_instruction_sets()):
        program = folder / f"fma_peak_{number}"
        command = [compiler, "-O3", *flags, "-ffp-contract=fast", "-pthread", "-o", str(program), str(HERE / "fma_peak.c")]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            programs.append(program)
    return programs


def _instruction_sets() -> list[list[str]]:
    """Compiler flags for each vector width that this processor has."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return [["-mcpu=native"]]
    flags = _field(_read("/proc/cpuinfo"), "flags")
    present = set(flags.group(1).split()) if flags else set()
    return [["-mavx2", "-mfma"]] * ({"avx2", "fma"} <= present) + [["-mavx512f"]] * ("avx512f" in present)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(text: str, key: str) -> re.Match[str] | None:
    return re.search(rf"^{re.escape(key)}\s*:\s*(.+)$", text, re.MULTILINE)
