"""python -m export: results on stdout, the rest on stderr, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_checkpoint import save_tiny
from typer.testing import CliRunner, Result

import export.produce
from export.produce import STEPS, Exported
from export.program import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def small_memory_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's own sizes go up to a megapixel."""
    measure = export.produce.bytes_per_pixel
    monkeypatch.setattr(
        export.produce, "bytes_per_pixel", lambda path, multiple, sides, on_run: measure(path, multiple, (128, 256), on_run)
    )


@pytest.mark.usefixtures("small_memory_probe")
def test_onnx_writes_a_model_and_says_so_in_json(tiny_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "denoise.onnx"
    result = run("onnx", tiny_run, "-o", target, "--name", "denoise", "--licence", "CC0-1.0", "--threads", 1, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["spec"]["name"], report["spec"]["licence"], report["spec"]["receptive_radius"]) == ("denoise", "CC0-1.0", 31)
    assert report["size"] == target.stat().st_size
    assert (report["command"], report["exit_code"]) == ("onnx", 0)
    assert [line.removesuffix(" ...") for line in result.stderr.splitlines()] == list(STEPS)


def test_verify_prints_a_row_for_each_shape(exported: Exported, tiny_run: Path) -> None:
    result = run("verify", exported.path, "--against", tiny_run, "--threads", 1)
    assert result.exit_code == 0, result.stderr
    for label in ("minimum", "odd", "tall", "wide", "batch", "large"):
        assert label in result.stdout
    assert "equal within 0.0001" in result.stdout


def test_verify_exits_with_1_where_numbers_differ(exported: Exported, tmp_path: Path) -> None:
    other = save_tiny(tmp_path / "other", seed=1)
    result = run("verify", exported.path, "--against", other, "--threads", 1, "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["command"], report["exit_code"], report["passed"]) == ("verify", 1, False)
    assert len(report["shapes"]) == 6
    assert "FAIL" in run("verify", exported.path, "--against", other, "--threads", 1).stdout


def test_verify_takes_a_tolerance(exported: Exported, tmp_path: Path) -> None:
    other = save_tiny(tmp_path / "other", seed=1)
    assert run("verify", exported.path, "--against", other, "--threads", 1, "--tolerance", 10).exit_code == 0


def test_card_prints_what_it_wrote(exported: Exported, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text('[{"set": "Kodak24", "sigma": 25, "psnr": 31.5, "ssim": 0.875}]')
    target = tmp_path / "carded.onnx"
    result = run("card", exported.path, "--quality", rows, "-o", target, "--trained-on", "own photographs")
    assert result.exit_code == 0, result.stderr
    assert "Kodak24" in result.stdout
    assert "31.5" in result.stdout
    spec = json.loads(run("card", target, "--json").stdout)["spec"]
    assert (spec["trained_on"], spec["quality"][0]["ssim"]) == ("own photographs", 0.875)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("onnx", "nowhere", "-o", "a.onnx"), 4),
        (("onnx", "nowhere", "-o", "no_folder/a.onnx"), 3),
        (("onnx", "nowhere", "-o", "a.bin"), 3),
        (("onnx", "nowhere", "-o", "a.onnx", "--opset", "17"), 2),
        (("onnx", "nowhere"), 2),
        (("verify", "nowhere.onnx", "--against", "nowhere"), 4),
        (("verify", "junk.onnx", "--against", "junk.onnx"), 4),
        (("verify", "junk.onnx", "--against", "junk.onnx", "--tolerance", "-1"), 2),
        (("card", "junk.onnx"), 4),
        (("nonsense",), 2),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "junk.onnx").write_bytes(b"not an onnx file")
    result = run(*arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    told = json.loads(run(*arguments, "--json").stdout)
    assert (told["exit_code"], told["error"]["exit_code"]) == (code, code)
    assert told["error"]["message"]


def test_errors_are_json_too(tmp_path: Path) -> None:
    result = run("onnx", tmp_path, "-o", tmp_path / "a.onnx", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["error"]["type"] == "CheckpointUnusableError"


def test_help_loads_no_framework() -> None:
    code = "import sys, export.program; print({'torch', 'onnx', 'onnxruntime', 'PIL', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout.strip() == "set()"
