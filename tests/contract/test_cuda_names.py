"""Every name of cuda-core, cuda-bindings and pycuda that the CUDA layer uses exists in the versions it claims to work with.

The lists hold public names only (class or module -> members), because pycuda cannot be loaded without a driver, and most machines
have neither.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CUDA = ROOT / "restore_sdk" / "cuda"
NAMES = Path(__file__).with_name("cuda_names")
CORE = ("cuda-core-1.0", "cuda-core-1.2")  # the oldest that pyproject.toml allows, and the newest known
BINDINGS, PYCUDA = "cuda-bindings-13.5", "pycuda-2026.1"

# (class of ours, expression in it) -> whose members it has; "" is any class of the file
CORE_OWNERS: Mapping[tuple[str, str], str] = {
    ("", "self.core"): "cuda.core",
    ("", "device.core"): "cuda.core",
    ("CudaCoreDevice", "device"): "Device",
    ("", "cuda"): "Device",
    ("CudaCoreEvent", "self.vendor"): "Event",
    ("CudaCoreStream", "self.vendor"): "Stream",
    ("", "builder"): "GraphBuilder",
    ("", "self._graph"): "Graph",
    ("", "_module('cuda.core._utils.cuda_utils')"): "cuda.core._utils.cuda_utils",
}
BINDINGS_OWNERS: Mapping[tuple[str, str], str] = {
    **{("", name): "cuda.bindings.driver" for name in ("self.driver", "driver", "device.driver", "self._device.driver")},
    ("", "self.driver.CUresult"): "CUresult",
}
LAUNCHING_OWNERS: Mapping[tuple[str, str], str] = {
    ("", "core"): "cuda.core",
    ("", "core.Stream"): "Stream",
    ("", "code"): "ObjectCode",
    ("", "core.Program(source(), 'c++', options)"): "Program",
}
PYCUDA_OWNERS: Mapping[tuple[str, str], str] = {
    ("", "self.driver"): "pycuda.driver",
    ("", "driver"): "pycuda.driver",
    ("", "ordinal"): "Device",
    ("", "self.driver.Device"): "Device",
    ("", "driver.Device(index)"): "Device",
    ("", "self._context"): "Context",
    ("", "context"): "Context",
    ("PycudaEvent", "self.vendor"): "Event",
    ("PycudaStream", "self.vendor"): "Stream",
    ("", "own(event, PycudaEvent).vendor"): "Event",
    ("", "driver.host_alloc_flags"): "host_alloc_flags",
    ("", "driver.event_flags"): "event_flags",
    ("PycudaBuffer", "allocation"): "DeviceAllocation",
    ("PycudaPinned", "allocation"): "PagelockedHostAllocation",
}
OPTIONS = {"EventOptions": "blocking_sync", "StreamOptions": "nonblocking"}


@cache
def names_of(version: str) -> dict[str, list[str]]:
    return dict(json.loads((NAMES / f"{version}.json").read_text(encoding="utf-8")))


def used(path: Path, owners: Mapping[tuple[str, str], str]) -> set[tuple[str, str]]:
    """(owner, member) of every attribute that is read of something in `owners`."""
    found = set()
    for top in ast.parse(path.read_text(encoding="utf-8")).body:
        ours = top.name if isinstance(top, ast.ClassDef) else ""
        for node in ast.walk(top):
            if isinstance(node, ast.Attribute):
                text = ast.unparse(node.value)
                owner = owners.get((ours, text)) or owners.get(("", text))
                if owner:
                    found.add((owner, node.attr))
    return found


def absent(names: set[tuple[str, str]], version: str) -> list[str]:
    return sorted(f"{owner}.{member}" for owner, member in names if member not in names_of(version).get(owner, ()))


@pytest.mark.parametrize("version", CORE)
def test_every_name_of_cuda_core_exists(version: str) -> None:
    names = used(CUDA / "cuda_core.py", CORE_OWNERS)
    assert absent(names, version) == []
    assert {owner for owner, _ in names} == set(CORE_OWNERS.values())


@pytest.mark.parametrize("version", CORE)
def test_every_name_that_launches_kernels_exists(version: str) -> None:
    names = used(CUDA / "launching.py", LAUNCHING_OWNERS)
    assert absent(names, version) == []
    assert {owner for owner, _ in names} == set(LAUNCHING_OWNERS.values())
    assert absent(used(CUDA / "launching.py", BINDINGS_OWNERS), BINDINGS) == []


@pytest.mark.parametrize("version", CORE)
@pytest.mark.parametrize(("owner", "field"), OPTIONS.items())
def test_every_option_of_cuda_core_exists(version: str, owner: str, field: str) -> None:
    assert field in names_of(version)[owner]
    assert f"{owner}({field}=True)" in (CUDA / "cuda_core.py").read_text(encoding="utf-8")


def test_every_name_of_cuda_bindings_exists() -> None:
    names = used(CUDA / "cuda_core.py", BINDINGS_OWNERS)
    assert absent(names, BINDINGS) == []
    assert {("cuda.bindings.driver", "cuMemAlloc"), ("CUresult", "CUDA_ERROR_OUT_OF_MEMORY")} <= names


def test_every_name_of_pycuda_exists() -> None:
    names = used(CUDA / "pycuda_driver.py", PYCUDA_OWNERS)
    assert absent(names, PYCUDA) == []
    assert {owner for owner, _ in names} == set(PYCUDA_OWNERS.values())


def test_pycuda_has_no_graphs_to_capture() -> None:
    """Where this fails, pycuda has learnt it, and its streams can offer capture()."""
    assert not any("capture" in member.lower() for members in names_of(PYCUDA).values() for member in members)


def test_autoinit_is_never_imported() -> None:
    """It makes a context of its own beside the primary one."""
    for path in CUDA.glob("*.py"):
        imported = [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert not any("autoinit" in ast.unparse(node) for node in imported)


def test_a_wrong_name_would_be_seen(tmp_path: Path) -> None:
    source = tmp_path / "wrong.py"
    source.write_text("class CudaCoreEvent:\n    def f(self):\n        self.vendor.synchronize()\n", encoding="utf-8")
    assert absent(used(source, CORE_OWNERS), CORE[0]) == ["Event.synchronize"]
