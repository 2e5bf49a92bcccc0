"""The examples run to their last assert, and the index names each of them."""

from __future__ import annotations

import ast
import hashlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import repository

FOLDER = repository.ROOT / "examples"
EXAMPLES = [path for path in repository.files() if path.parent.name == "examples" and path.suffix == ".py"]
NEED_NO_MODEL = ("06_", "07_")


def run(example: Path, folder: Path) -> str:
    command = [sys.executable, str(repository.ROOT / example)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("example", [path for path in EXAMPLES if not path.name.startswith(NEED_NO_MODEL)], ids=str)
@pytest.mark.usefixtures("bundled_model")
def test_example_runs(example: Path, tmp_path: Path) -> None:
    run(example, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.name.startswith(NEED_NO_MODEL)], ids=str)
def test_example_without_the_bundled_model_runs(example: Path, tmp_path: Path) -> None:
    run(example, tmp_path)


@pytest.mark.usefixtures("bundled_model")
def test_demo_says_what_it_did(tmp_path: Path) -> None:
    printed = run(Path("examples", "01_restore_a_photo.py"), tmp_path)
    assert "dB noisy" in printed
    for name in ("restored.png", "before_after.png"):
        assert str(repository.ROOT / "out" / name) in printed
        assert cv2.imread(str(repository.ROOT / "out" / name)) is not None


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_example_ends_in_an_assert_and_is_in_the_index(example: Path) -> None:
    assert isinstance(repository.tree(example).body[-1], ast.Assert)
    assert f"]({example.name})" in repository.read(Path("examples", "README.md"))


def test_pictures_are_those_of_their_script(tmp_path: Path) -> None:
    """make_examples.py, pointed at another folder, writes the same pixels."""
    script = repository.read(Path("examples", "images", "make_examples.py"))
    code = compile(script.replace("Path(__file__).parent", f"Path({str(tmp_path)!r})"), "make_examples.py", "exec")
    exec(code, {"__name__": "__main__"})  # noqa: S102
    committed = {path.name: cv2.imread(str(path)) for path in (FOLDER / "images").glob("*.png")}
    made = {path.name: cv2.imread(str(path)) for path in tmp_path.glob("*.png")}
    assert committed.keys() == made.keys()
    assert [name for name in made if not np.array_equal(made[name], committed[name])] == []


def test_pictures_are_small_and_explained() -> None:
    explained = repository.read(Path("examples", "images", "README.md"))
    for path in (FOLDER / "images").glob("*.png"):
        assert path.stat().st_size < 200_000
        assert f"`{path.name}`" in explained


def test_noise_of_the_noisy_photo() -> None:
    clean, noisy = (cv2.imread(str(FOLDER / "images" / f"{name}_photo.png")).astype(np.float64) for name in ("clean", "noisy"))
    unclipped = (clean > 100) & (clean < 155)  # four standard deviations from black and white
    assert (noisy - clean)[unclipped].std() == pytest.approx(25, abs=0.5)


def test_no_two_pictures_are_one() -> None:
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (FOLDER / "images").glob("*.png")}
    assert len(digests) == len(list((FOLDER / "images").glob("*.png")))
