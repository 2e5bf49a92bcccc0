"""Every TensorRT name that the sources use exists in each version they claim to work with.

The lists hold public names only (class -> members), because most of these modules cannot be loaded on most machines.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from restore_sdk.backends.engine_api import REQUIRED, RTX_ONLY

ROOT = Path(__file__).resolve().parents[2]
NAMES = Path(__file__).with_name("tensorrt_names")
VERSIONS = ("tensorrt-10.16", "tensorrt-11.4", "tensorrt_rtx-1.7")
LEAN = "tensorrt_lean-11.4"  # a runtime without a builder
BUILDERS = {
    *("Builder", "EngineInspector", "IBuilderConfig", "ILayer", "INetworkDefinition", "ITensor", "LayerType"),
    *("NetworkDefinitionCreationFlag", "OnnxParser", "ParserError"),
}
SOURCES = [path for folder in ("restore_sdk", "export") for path in (ROOT / folder).rglob("*.py") if "engine" in path.name]
MODULE_ATTRIBUTES = {"__version__", "__members__", "__name__"}
# Attributes of our own objects that happen to be called like members of TensorRT's classes
OURS = {"append", "engine", "name", "nbytes", "pop", "precision", "start"}

Table = Mapping[str, Sequence[str]]


@cache
def names_of(version: str) -> dict[str, list[str]]:
    return dict(json.loads((NAMES / f"{version}.json").read_text(encoding="utf-8")))


def pairs(table: Table) -> set[tuple[str, str]]:
    return {(owner, member) for owner, members in table.items() for member in members}


def absent(table: Table, version: str) -> list[str]:
    known = names_of(version)
    return sorted(f"{owner}.{member}" for owner, member in pairs(table) if member not in known.get(owner, ()))


def attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)}


def module_names(path: Path) -> set[str]:
    """X and X.Y of every api.X and api.X.Y (also self._api, and `base` is one of them)."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        for prefix in ("api.", "self._api."):
            if text.startswith(prefix):
                found.add(".".join(text.removeprefix(prefix).split(".")[:2]))
    return {name for name in found if name not in MODULE_ATTRIBUTES}


def uses_tensorrt(path: Path) -> bool:
    """Whether the objects that a file calls are TensorRT's: it names the module, or has what it calls answered."""
    return bool(module_names(path)) or "answered(" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_of_the_table_exists(version: str) -> None:
    assert absent(REQUIRED, version) == []


def test_the_lean_runtime_has_all_but_the_builders_names() -> None:
    missing = {name.partition(".")[0] for name in absent(REQUIRED, LEAN)}
    assert missing == BUILDERS
    assert BUILDERS.isdisjoint(names_of(LEAN))


def test_the_names_of_rtx_alone_exist_there_and_only_there() -> None:
    assert absent(RTX_ONLY, "tensorrt_rtx-1.7") == []
    for version in VERSIONS[:2]:
        assert len(absent(RTX_ONLY, version)) == len(pairs(RTX_ONLY))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_name_used_is_in_the_table(path: Path) -> None:
    tables = pairs(REQUIRED) | pairs(RTX_ONLY)
    known = {owner for owner, _ in tables} | {f"{owner}.{member}" for owner, member in tables}
    known |= {f"{owner}.{special}" for owner in (*REQUIRED, *RTX_ONLY) for special in MODULE_ATTRIBUTES}
    assert module_names(path) - known == set()


@pytest.mark.parametrize("path", [path for path in SOURCES if uses_tensorrt(path)], ids=lambda path: path.name)
def test_every_member_used_is_in_the_table(path: Path) -> None:
    """Methods of TensorRT's objects are not reached through the module: any attribute called like one counts."""
    theirs = {member for version in VERSIONS for members in names_of(version).values() for member in members}
    declared = {member for _, member in pairs(REQUIRED) | pairs(RTX_ONLY)} | {*REQUIRED, *RTX_ONLY}
    assert (attributes(path) & theirs) - declared - OURS == set()


def test_nothing_in_the_table_is_unused() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES if path.name != "engine_api.py")
    unused = [f"{owner}.{member}" for owner, member in pairs(REQUIRED) | pairs(RTX_ONLY) if member not in text]
    assert [name for name in unused if name != "ComputeCapability.SM86"] == []


def test_a_removed_name_would_be_seen() -> None:
    """FP16 left with TensorRT 11; asking for it is how engines became FP32 without a word."""
    assert absent({"BuilderFlag": ["FP16"]}, "tensorrt-10.16") == []
    assert absent({"BuilderFlag": ["FP16"]}, "tensorrt-11.4") == ["BuilderFlag.FP16"]
    assert absent({"BuilderFlag": ["FP16"]}, "tensorrt_rtx-1.7") == ["BuilderFlag.FP16"]


def test_the_lists_are_those_that_were_collected() -> None:
    collected = ROOT.parent / "shared" / "tensorrt_names"
    if not collected.is_dir():
        pytest.skip("the collected names are not on this machine")
    assert {f"{version}.json" for version in (*VERSIONS, LEAN)} == {path.name for path in collected.glob("*.json")}
    for version in (*VERSIONS, LEAN):
        assert names_of(version) == json.loads((collected / f"{version}.json").read_text(encoding="utf-8"))
