"""Links lead somewhere, no text names a place of one machine, nothing is left unfinished."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import repository

PAGES = [path for path in repository.files() if path.suffix == ".md"]
LINK = re.compile(r"\]\(([^()\s]+)\)|<img[^>]+src=\"([^\"]+)\"")
ONE_MACHINE = re.compile(r"(?<![\w.~$}>*-])/(?:" + "|".join(("tmp", "work", "root", "home", "farm", "Users", "mnt")) + r")/\w")
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "NotImplemented" + "Error")) + r")\b")


def outside_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchor(heading: str) -> str:
    """The fragment that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", outside_code(page.read_text(encoding="utf-8")), re.MULTILINE)}


def named_paths(page: Path) -> set[str]:
    """`folder/file` in the running text, where folder is one of this repository's; patterns and placeholders are left out."""
    tops = {path.parts[0] for path in repository.files() if len(path.parts) > 1}
    quoted = re.findall(r"`([^`\s<>*]+/[^`\s<>*]*)`", outside_code(repository.read(page)))
    return {name for name in quoted if name.split("/")[0] in tops}


def dead_links(page: Path) -> list[str]:
    found = [first or second for first, second in LINK.findall(outside_code(repository.read(page)))]
    return [link for link in found if "://" not in link and not _leads_somewhere(page, link)]


def _leads_somewhere(page: Path, link: str) -> bool:
    name, _, fragment = link.partition("#")
    target = (repository.ROOT / page).parent / name if name else repository.ROOT / page
    return target.exists() and (not fragment or fragment in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_named_paths_are_there(page: Path) -> None:
    assert [name for name in sorted(named_paths(page)) if not (repository.ROOT / name).exists()] == []


@pytest.mark.parametrize("path", repository.text_files(), ids=str)
def test_no_place_of_one_machine(path: Path) -> None:
    assert ONE_MACHINE.findall(repository.read(path)) == []


@pytest.mark.parametrize("path", [path for path in repository.text_files() if path.suffix != ".md"], ids=str)
def test_nothing_is_unfinished(path: Path) -> None:
    assert UNFINISHED.findall(repository.read(path)) == []


@pytest.mark.parametrize("path", repository.files(), ids=str)
def test_git_carries_no_large_file(path: Path) -> None:
    assert (repository.ROOT / path).stat().st_size <= 20_000_000


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("open('/" + "tmp/x')", True),
        ("in /" + "home/someone/photos", True),
        ("https://example.org/" + "home/page", False),
        ("../work/x", False),
        ("the home/ folder", False),
    ],
)
def test_a_machines_places_are_seen(text: str, seen: bool) -> None:
    assert bool(ONE_MACHINE.search(text)) is seen


def test_anchor_by_hand() -> None:
    assert anchor("Exit codes, in one table") == "exit-codes-in-one-table"
