"""The files of this repository, and what their syntax trees import and define."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES_FILE = Path(__file__).with_name("public_names.txt")
PRODUCT = ("restore_sdk", "training", "export")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def files() -> tuple[Path, ...]:
    """Every file that git tracks or would track, relative to the root."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return tuple(sorted({Path(name) for name in names if name and (ROOT / name).is_file()}))


def python_files(*packages: str) -> list[Path]:
    """Python files inside `packages`, or all of them."""
    return [path for path in files() if path.suffix == ".py" and (not packages or path.parts[0] in packages)]


def text_files() -> list[Path]:
    """Files without a NUL byte at their beginning."""
    return [path for path in files() if b"\0" not in (ROOT / path).read_bytes()[:8192]]


def read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(read(path), filename=str(path))


def module_name(path: Path) -> str:
    """restore_sdk/tiling/plan.py -> restore_sdk.tiling.plan; a package's __init__.py is the package."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def functions(path: Path) -> Iterator[Function]:
    """Every function and method, nested ones too."""
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the last; 1 for a docstring alone."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return 1 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


def imported_modules(path: Path) -> set[str]:
    """Dotted names that `path` imports, inside functions too: `from a import b` counts as a.b, require("torch") as torch."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call):
            found |= _named_module(node)
    return found


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _named_module(call: ast.Call) -> set[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    first = call.args[0] if call.args else None
    if name in ("require", "import_module", "__import__") and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return {first.value}
    return set()


def public_names() -> list[str]:
    """The committed list of what `from restore_sdk import ...` offers."""
    return NAMES_FILE.read_text(encoding="utf-8").split()
