"""The real cuda-core, cuda-bindings and NVRTC on a driver that is played on the host, where there is no GPU.

NVIDIA's libraries ask libcuda.so.1 for everything; tests/stand_in is such a library. What the tests of the GPU find with it holds
for our calls, their order and what cuda-core makes of them, and says nothing on a GPU's arithmetic, speed or own faults. A newer
cuda-core may ask for functions that tests/stand_in has not; it names them, and they are to be added there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from host_compiler import STAND_IN, compiled_library, kernels

from restore_sdk.cuda.launching import KERNELS

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the driver."""
    if sys.platform != "linux":
        pytest.skip("the stand-in driver is for Linux")
    pytest.importorskip("cuda.core", reason="cuda-core is not installed (pip: cuda-core)")
    folder = tmp_path_factory.mktemp("driver")
    listed = " ".join(f"KERNEL({name})" for name in KERNELS)
    text = f'{kernels()}#define KERNELS {listed}\n#include "{STAND_IN / "entries.cpp"}"\n'
    compiled_library(folder / "libcuda.so.1", text, "-pthread", "-ldl")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tests", "chosen", "least"),
    [
        ("contract/test_cuda_device_contract.py", "cuda-core", 22),
        # Half a GiB copied 600 times is for a GPU
        ("gpu/test_cuda_pipeline_gpu.py", "cuda-core and not still_inferred", 7),
        ("gpu/test_launcher_gpu.py", "", 40),
        ("gpu/test_failing_driver_gpu.py", "", 25),
        ("gpu/test_played_engine_gpu.py", "", 11),
    ],
)
def test_the_tests_of_the_gpu_pass(driver: Path, tests: str, chosen: str, least: int) -> None:
    searched = os.pathsep.join(filter(None, [str(driver), os.environ.get("LD_LIBRARY_PATH")]))
    command = [sys.executable, "-m", "pytest", str(TESTS / tests), "-m", "gpu", "-k", chosen, "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, env={**os.environ, "LD_LIBRARY_PATH": searched}, capture_output=True, text=True, check=False, timeout=300
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert passed is not None
    assert int(passed[1]) >= least, done.stdout[-8000:]
