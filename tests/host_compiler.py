"""C++ for tests: the CUDA kernels as functions of the host, and libraries around them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from restore_sdk.cuda.launching import source

STAND_IN = Path(__file__).with_name("stand_in")


def kernels() -> str:
    """kernels.cu as C++."""
    return f'#include "{STAND_IN / "cuda_language.hpp"}"\n{source()}\n'


def compiled_library(target: Path, text: str, *options: str) -> Path:
    """`text` as the shared library `target`, rounding as the GPU does; skips the test where there is no C++ compiler."""
    compiler = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler (g++, c++ or clang++) to run the CUDA kernels on the host with")
    written = target.with_suffix(".cpp")
    written.write_text(text, encoding="utf-8")
    command = [compiler, "-O1", "-std=c++17", "-ffp-contract=off", "-Wall", "-shared", "-fPIC", *options]
    subprocess.run([*command, "-o", str(target), str(written)], check=True, capture_output=True, text=True)
    return target
