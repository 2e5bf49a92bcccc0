"""Blocks of the pages that need a GPU (```py, not run): they are whole programs all the same."""

from __future__ import annotations

import ast
import builtins
import importlib

import pages
import pytest

BLOCKS = [block for page in pages.PAGES for block in pages.blocks(page) if block.language == "py"]


def undefined(source: str) -> set[str]:
    """Names that are read and never bound."""
    tree = ast.parse(source)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)} | set(dir(builtins))
    imports = [alias for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
    bound |= {(alias.asname or alias.name).split(".")[0] for alias in imports}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return {node.id for node in names} - bound


def test_undefined_by_hand() -> None:
    assert undefined("import a.b as c\nwith c.d() as e:\n    f = e(g, len(h))") == {"g", "h"}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_is_a_whole_program(block: pages.Block) -> None:
    assert undefined(block.text) == set()
    assert "..." not in block.text
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("restore_sdk"):
            module = importlib.import_module(node.module or "")
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
