"""Memory that one iteration frees is there for the next."""

from __future__ import annotations

import ctypes
import resource

import numpy as np
import pytest

from restore_sdk.cli.dip_memory import freed_memory_kept

BLOCKS = 6


def faults_of_a_round(size: int) -> int:
    """Pages that the system had to clear for blocks which live at once and are freed together."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    blocks = [np.ones(size, np.uint8) for _ in range(BLOCKS)]
    del blocks
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
@pytest.mark.parametrize("size", [16 << 20, 40 << 20])  # below and above the largest threshold of glibc
def test_freed_memory_is_kept_inside_alone(size: int) -> None:
    with freed_memory_kept():
        faults_of_a_round(size)
        kept = faults_of_a_round(size)
    faults_of_a_round(size)
    assert kept < faults_of_a_round(size) / 4
