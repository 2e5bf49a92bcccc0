"""What the pages promise: their commands, and their Python."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import repository

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [path for path in repository.files() if path.suffix == ".md" and path.name != "CHANGELOG.md"]


@dataclass(frozen=True)
class Block:
    """A fenced block of one page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One line of a shell block, as words."""

    page: Path
    line: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line)

    @property
    def flags(self) -> list[str]:
        return [word.partition("=")[0] for word in self.words if word.startswith("-") and word not in ("-", "--", "-m")]

    def __str__(self) -> str:
        return f"{self.page}: {self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = repository.read(page)
    for match in FENCE.finditer(text):
        yield Block(page, text[: match.start()].count("\n") + 1, match[1], match[2])


def python_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == "python"]


def commands() -> list[Command]:
    shell = [block for page in PAGES for block in blocks(page) if block.language in ("sh", "bash", "console")]
    lines = [(block.page, line.split(" #")[0].strip()) for block in shell for line in block.text.splitlines()]
    return list(dict.fromkeys(Command(page, line) for page, line in lines if line))
