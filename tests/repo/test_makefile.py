"""The two files that a newcomer and CI start from."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import repository

# without the flags of a `make test` that may be running these very tests
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "BENCHMARKS")
}


def make(*arguments: str, folder: Path = repository.ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", ["help", "demo", "test", "check", "bench", "clean"])
def test_target_is_there(target: str) -> None:
    done = make("-n", target)
    assert done.returncode == 0, done.stderr


def test_help_is_the_default_and_names_every_target() -> None:
    shown = make().stdout
    assert re.findall(r"^make (\w+)", shown, re.MULTILINE) == ["demo", "test", "check", "bench", "clean"]


def test_benchmarks_are_there() -> None:
    named = re.search(r"^BENCHMARKS \?= (.+)$", repository.read(Path("Makefile")), re.MULTILINE)
    assert named is not None
    assert [name for name in named.group(1).split() if not (repository.ROOT / "benchmarks" / f"{name}.py").is_file()] == []


@pytest.mark.parametrize(
    ("python", "says"),
    [
        ("no-such-python", "install Python 3.11 or newer"),
        ("import sys; sys.version_info = (3, 9, 0)", "needs Python 3.11 or newer, this is 3.9"),
        ("import sys; sys.modules['ensurepip'] = None", "python3-venv"),
    ],
)
def test_an_unfit_python_is_named(tmp_path: Path, python: str, says: str) -> None:
    (tmp_path / "Makefile").write_text(repository.read(Path("Makefile")), encoding="utf-8")
    (tmp_path / "pyproject.toml").touch()
    stand_in = tmp_path / "python"
    if python.startswith("import"):
        stand_in.write_text(f"#!/bin/sh\nexec python3 -c \"{python}\nexec('''$2''')\"\n", encoding="utf-8")
        stand_in.chmod(0o755)
    interpreter = str(stand_in) if stand_in.exists() else python
    done = make("demo", f"PYTHON={interpreter}", folder=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_ci_runs_the_checks_and_the_tests() -> None:
    script = repository.ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make --no-print-directory check test" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(script)], check=True)
