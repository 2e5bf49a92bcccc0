"""What `from restore_sdk import ...` offers changes only on purpose: in the committed list and in the changelog."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import repository

import restore_sdk
from restore_sdk.backends.base import Backend

NAMES = repository.public_names()


def documented(owner: type, name: str) -> bool:
    """Whether a public method has a docstring of its own or, as a Backend's method, in the protocol."""
    return bool(inspect.getdoc(getattr(owner, name)) or inspect.getdoc(getattr(Backend, name, None)))


def test_public_names_are_the_committed_list() -> None:
    assert sorted(restore_sdk.__all__) == NAMES


def test_the_list_is_sorted_and_without_doubles() -> None:
    assert sorted(set(NAMES)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_public_name_is_there(name: str) -> None:
    assert hasattr(restore_sdk, name)


@pytest.mark.parametrize("name", NAMES)
def test_public_name_is_in_the_changelog(name: str) -> None:
    assert f"`{name}`" in repository.read(Path("CHANGELOG.md")), f"CHANGELOG.md does not mention `{name}`"


@pytest.mark.parametrize("name", [name for name in NAMES if inspect.isclass(getattr(restore_sdk, name, None))])
def test_public_methods_have_docstrings(name: str) -> None:
    owner = getattr(restore_sdk, name)
    methods = [
        key for key, value in vars(owner).items() if not key.startswith("_") and (callable(value) or isinstance(value, property))
    ]
    assert [key for key in methods if not documented(owner, key)] == []


def test_restorer_stays_small() -> None:
    methods = [key for key, value in vars(restore_sdk.Restorer).items() if not key.startswith("_") and inspect.isfunction(value)]
    assert len(methods) <= 8


def test_one_version_everywhere() -> None:
    declared = re.search(r'^version = "(.+)"$', repository.read(Path("pyproject.toml")), re.MULTILINE)
    released = re.search(r"^## \[(\d[^\]]*)\]", repository.read(Path("CHANGELOG.md")), re.MULTILINE)
    assert declared is not None
    assert released is not None
    assert declared.group(1) == restore_sdk.__version__ == released.group(1)
