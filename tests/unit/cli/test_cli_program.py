"""The program as a process of its own: what the shell sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from restore_sdk import __version__
from restore_sdk.cli import interrupts, start
from restore_sdk.cli import main as program

PROGRAM = [sys.executable, "-m", "restore_sdk"]
HEAVY = {"numpy", "cv2", "PIL", "onnxruntime", "torch", "onnx", "rich.progress", "restore_sdk.restorer"}


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `restore ARGUMENTS` with neither stdout nor stderr a terminal."""
    command = [*PROGRAM, *map(str, arguments)]
    variables = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=60)


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint('\\nMODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"restore-sdk {__version__}\n", "")


def test_help_tells_the_exit_codes_and_loads_nothing_heavy() -> None:
    assert "130" in run("--help").stdout
    loaded = loaded_by("from restore_sdk.cli.main import app; app(['--help'])")
    assert "restore_sdk.cli.image" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_doctor_does_not_load_torch() -> None:
    assert "torch" not in loaded_by("from restore_sdk.cli.main import app; app(['doctor', '--json'])")


def test_restoring_does_not_load_torch(small_model: Path, picture: Callable[..., Path], tmp_path: Path) -> None:
    arguments = ["image", str(picture()), "-o", str(tmp_path / "b.png"), "-m", str(small_model)]
    loaded = loaded_by(f"from restore_sdk.cli.main import app; app({arguments!r})")
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint({"torch", "onnx"})
    assert (tmp_path / "b.png").exists()


def test_result_on_stdout_and_nothing_else(small_model: Path, picture: Callable[..., Path], tmp_path: Path) -> None:
    done = run("image", picture(), "-o", tmp_path / "b.png", "-m", small_model, "--json", FORCE_COLOR="1")
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["counts"] == {"restored": 1}
    assert "\x1b" not in done.stdout


def test_partial_failure(small_model: Path, picture: Callable[..., Path], tmp_path: Path) -> None:
    picture("in/a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    done = run("image", tmp_path / "in", "-o", tmp_path / "out", "-m", small_model)
    assert done.returncode == 6
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["restored", "failed"]
    assert done.stderr.startswith("error: cannot read ")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text exist on Linux only")
@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["lines", "json"])
def test_a_name_that_is_no_text(small_model: Path, picture: Callable[..., Path], tmp_path: Path, flags: list[str]) -> None:
    picture().rename(tmp_path / os.fsdecode(b"\xff.png"))
    (tmp_path / os.fsdecode(b"\xfe.png")).write_bytes(b"no picture")
    done = run("image", tmp_path / "*.png", "-o", tmp_path / "out", "-m", small_model, *flags)
    assert done.returncode == 6
    assert "\\udcff.png" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["image"], 2), (["nonsense"], 2), (["image", "gone.png", "-o", "b.png"], 3), (["models", "show", "gone"], 4)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_failures_leave_stdout_to_results(arguments: list[str], code: int) -> None:
    done = run(*arguments, NO_COLOR="1")
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_ctrl_c_outside_a_command_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "keep_interrupts", lambda: None)

    def interrupt(**_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "app", interrupt)
    with pytest.raises(SystemExit) as ended:
        start.main()
    assert ended.value.code == 130


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child process")
def test_ctrl_c(small_model: Path, picture: Callable[..., Path], tmp_path: Path) -> None:
    for number in range(3):
        picture(f"in/{number}.png")
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a parent in the background would have it ignored
        "from restore_sdk.restorer import Restorer\n"
        "genuine = Restorer.restore_file\n"
        "def restore_file(self, source, target, **options):\n"
        "    if source.name == '1.png':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return genuine(self, source, target, **options)\n"
        "Restorer.restore_file = restore_file\n"
        "from restore_sdk.cli.start import main\n"
        "main()\n"
    )
    arguments = ["image", tmp_path / "in", "-o", tmp_path / "out", "-m", small_model]
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 130
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["restored", "interrupted", "not"]
    assert "restored: 1, interrupted: 1, not started: 1" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.png"]
