"""The wheel holds restore_sdk with its models and its types, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import repository


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=repository.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    assert file.name.endswith("-py3-none-any.whl")
    return zipfile.ZipFile(file)


def test_wheel_holds_only_the_package(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"restore_sdk"}


def test_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    tracked = {path.as_posix() for path in repository.files() if path.parts[0] == "restore_sdk"}
    assert tracked - set(wheel.namelist()) == set()
    assert "restore_sdk/py.typed" in tracked


def test_wheel_holds_every_listed_model(wheel: zipfile.ZipFile, bundled_model: Path) -> None:
    assert "restore_sdk/zoo/models.json" in wheel.namelist()
    assert f"restore_sdk/zoo/{bundled_model.name}" in wheel.namelist()


def test_wheel_carries_the_licence_and_the_command(wheel: zipfile.ZipFile) -> None:
    (licence,) = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    assert wheel.read(licence).decode() == repository.read(Path("LICENSE"))
    (commands,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "restore = restore_sdk.cli.start:main" in wheel.read(commands).decode()


def test_nothing_in_the_wheel_is_of_one_machine(wheel: zipfile.ZipFile) -> None:
    here = json.dumps(str(repository.ROOT)).strip('"').encode()
    assert [name for name in wheel.namelist() if here in wheel.read(name)] == []
