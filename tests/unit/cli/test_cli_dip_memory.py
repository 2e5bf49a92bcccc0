"""Memory that one iteration frees is there for the next."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys

import pytest

# a process of its own: where other tests left a gap in the heap, blocks are put there and no setting shows
ROUNDS = """
import json, resource, sys
import numpy as np
from restore_sdk.cli.dip_memory import freed_memory_kept

def faults_of_a_round():
    "Pages that the system had to clear for blocks which live at once and are freed together."
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    blocks = [np.ones(int(sys.argv[1]), np.uint8) for _ in range(6)]
    del blocks
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before

with freed_memory_kept():
    inside = [faults_of_a_round() for _ in range(2)]
after = [faults_of_a_round() for _ in range(2)]
print(json.dumps([inside[1], after[1]]))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
@pytest.mark.parametrize("size", [16 << 20, 40 << 20])  # below and above the largest threshold of glibc
def test_freed_memory_is_kept_inside_alone(size: int) -> None:
    ran = subprocess.run([sys.executable, "-c", ROUNDS, str(size)], capture_output=True, text=True, check=True)
    inside, after = json.loads(ran.stdout)
    assert inside < after / 4
