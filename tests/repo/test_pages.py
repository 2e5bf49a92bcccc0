"""The Python of the pages runs; their commands run, or at least name what exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import av
import numpy as np
import pages
import pytest
import repository

IMAGES = repository.ROOT / "examples" / "images"
# A wide, plain terminal, so that no option of a help page is cut off
ENVIRONMENT = {**os.environ, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1", "PYTHONPATH": str(repository.ROOT)}

RESTORE = [command for command in pages.commands() if command.words[0] == "restore"]
PYTHON = [command for command in pages.commands() if command.words[0].endswith("python")]
OTHERS = [command for command in pages.commands() if command not in RESTORE + PYTHON]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the pages prune caches: never the user's."""
    monkeypatch.setitem(ENVIRONMENT, "XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


@cache
def help_of(*words: str) -> str:
    done = run(*words, "--help", folder=repository.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def workplace(tmp_path: Path, bundled_model: Path) -> Path:
    """A folder with what the pages speak of: photo.png, photos/, clip.mp4 and denoise.onnx."""
    shutil.copy(IMAGES / "noisy_photo.png", tmp_path / "photo.png")
    (tmp_path / "photos").mkdir()
    for name in ("coffee.png", "chelsea.png"):
        shutil.copy(IMAGES / name, tmp_path / "photos" / name)
    shutil.copy(bundled_model, tmp_path / "denoise.onnx")
    write_clip(tmp_path / "clip.mp4")
    return tmp_path


def write_clip(path: Path) -> None:
    """Two seconds of a moving ramp."""
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=5, width=64, height=48, pix_fmt="yuv420p")
        ramp = np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8)
        for shift in range(10):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(ramp, 4 * shift, axis=1), format="rgb24")))
        file.mux(stream.encode())


@pytest.mark.parametrize("block", pages.python_blocks(), ids=str)
def test_python_of_the_pages_runs(block: pages.Block, workplace: Path) -> None:
    done = run("-c", block.text, folder=workplace)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", RESTORE, ids=str)
def test_restore_command_runs(command: pages.Command, workplace: Path) -> None:
    done = run("-m", "restore_sdk", *command.words[1:], folder=workplace)
    assert done.returncode == 0, done.stdout + done.stderr
    for flag in ("-o", "--compare"):
        if flag in command.words:
            assert (workplace / command.words[command.words.index(flag) + 1]).exists()


@pytest.mark.parametrize("command", [command for command in PYTHON if command.words[1] != "-m"], ids=str)
def test_script_is_there_with_its_flags(command: pages.Command) -> None:
    assert (repository.ROOT / command.words[1]).is_file()
    if command.flags:
        assert missing_flags(command, command.words[1]) == []


@pytest.mark.parametrize("command", [command for command in PYTHON if command.words[1] == "-m"], ids=str)
def test_module_takes_these_flags(command: pages.Command) -> None:
    module = command.words[2]
    if module == "pytest":
        assert (repository.ROOT / command.words[3]).is_dir()
        return
    assert missing_flags(command, "-m", module, command.words[3]) == []
    for word in command.words[3:]:
        assert not word.startswith(("configs/", "benchmarks/")) or (repository.ROOT / word).is_file()


def missing_flags(command: pages.Command, *words: str) -> list[str]:
    shown = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", help_of(*words)))
    return [flag for flag in command.flags if flag not in shown]


@pytest.mark.parametrize("command", OTHERS, ids=str)
def test_other_command_names_what_exists(command: pages.Command) -> None:
    program, *rest = command.words
    if program == "make":
        assert [word for word in rest if "=" not in word and f"\n{word}:" not in repository.read(Path("Makefile"))] == []
        return
    assert (program, rest[0]) == ("pip", "install"), "a new kind of command: say here how it is checked"
    project = tomllib.loads(repository.read(Path("pyproject.toml")))["project"]
    asked = re.findall(r"\[([\w,-]+)\]", rest[-1])
    assert asked
    assert [extra for group in asked for extra in group.split(",") if extra not in project["optional-dependencies"]] == []
    assert re.match(rf"^(\.|{project['name']})\[", rest[-1])


def test_exit_codes_of_the_readme_are_those_of_the_program() -> None:
    from restore_sdk.cli.exit_codes import ExitCode

    rows = re.findall(r"^\| (\d+) \| (\S.*) \|$", repository.read(Path("README.md")), re.MULTILINE)
    assert [int(code) for code, _ in rows] == sorted(ExitCode)


def test_the_readme_begins_with_the_two_commands() -> None:
    first = next(pages.blocks(Path("README.md")))
    assert first.text.split("\n")[:2] == ["make demo", "make test"]
