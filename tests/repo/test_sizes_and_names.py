"""Short files, short functions, telling names, docstrings on everything public."""

from __future__ import annotations

import ast
from pathlib import Path
from statistics import median

import pytest
import repository

MOST_FILE_LINES = 300
MOST_FUNCTION_LINES = 40
MEDIAN_FUNCTION_LINES = 10
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "misc", "common"}  # they say nothing of what is inside


@pytest.mark.parametrize("path", repository.python_files(), ids=str)
def test_file_is_short(path: Path) -> None:
    assert len(repository.read(path).splitlines()) <= MOST_FILE_LINES


@pytest.mark.parametrize("path", repository.python_files(), ids=str)
def test_functions_are_short(path: Path) -> None:
    lengths = {f"{function.name}:{function.lineno}": repository.body_lines(function) for function in repository.functions(path)}
    assert {name: length for name, length in lengths.items() if length > MOST_FUNCTION_LINES} == {}


def test_the_median_function_is_short() -> None:
    paths = repository.python_files(*repository.PRODUCT)
    lengths = [repository.body_lines(function) for path in paths for function in repository.functions(path)]
    assert median(lengths) < MEDIAN_FUNCTION_LINES


@pytest.mark.parametrize("path", repository.python_files(), ids=str)
def test_names_say_what_is_inside(path: Path) -> None:
    assert {Path(part).stem for part in path.parts}.isdisjoint(EMPTY_NAMES)


@pytest.mark.parametrize("path", repository.python_files(*repository.PRODUCT), ids=str)
def test_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(repository.tree(path))


@pytest.mark.parametrize("path", repository.python_files("restore_sdk", "export"), ids=str)
def test_public_definitions_have_docstrings(path: Path) -> None:
    definitions = [node for node in repository.tree(path).body if isinstance(node, ast.ClassDef | repository.Function)]
    assert [node.name for node in definitions if not node.name.startswith("_") and not ast.get_docstring(node)] == []


def test_body_lines_by_hand() -> None:
    source = 'def f():\n    """One\n    two."""\n    a = 1\n\n    return a\ndef g():\n    """Only this."""\ndef h(): return 1\n'
    assert [repository.body_lines(node) for node in ast.parse(source).body] == [3, 1, 1]  # type: ignore[arg-type]
