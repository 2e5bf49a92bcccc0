"""One bad file, a bug, or Ctrl-C: what is said, what is left, and the exit code."""

from __future__ import annotations

import dataclasses
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restore_sdk.errors import BackendError, DeviceMemoryError
from restore_sdk.image.png_chunks import SIGNATURE, make_chunk
from restore_sdk.restorer import Restorer
from restore_sdk.spec import ModelSpec

Restore = Callable[..., Any]
Picture = Callable[..., Path]


def statuses(parsed: dict[str, Any]) -> dict[str, str]:
    return {Path(file["source"]).name: file["status"] for file in parsed["files"]}


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nrest", b"text"], ids=["empty", "truncated", "text"])
def test_unreadable_file(restore: Restore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    result = restore("image", "bad.png", "-o", "b.png")
    assert result.exit_code == 3
    assert result.stdout == "failed    bad.png\n"
    assert result.stderr.startswith("error: cannot read bad.png: ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize("name", ["gone.png", "gone", "*.webp"])
def test_missing_input(restore: Restore, name: str) -> None:
    result = restore("image", name, "-o", "out", model="no such model is needed to say so")
    assert result.exit_code == 3
    assert f"error: cannot read {name}" in result.stderr


def test_one_bad_file_does_not_stop_the_rest(
    restore: Restore, picture: Picture, tmp_path: Path, as_json: Callable[..., Any]
) -> None:
    picture("in/a.png")
    picture("in/z.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    result = restore("image", "in", "gone.png", "-o", "out", "--json")
    assert result.exit_code == 6
    parsed = as_json(result)
    assert parsed["exit_code"] == 6
    assert statuses(parsed) == {"gone.png": "failed", "a.png": "restored", "bad.png": "failed", "z.png": "restored"}
    errors = {Path(file["source"]).name: file["error"] for file in parsed["files"] if file["error"]}
    assert {name: error["type"] for name, error in errors.items()} == {"gone.png": "ImageReadError", "bad.png": "ImageReadError"}
    assert "error: cannot read gone.png: there is no such file" in result.stderr
    assert "restored: 2, failed: 2" in result.stderr


def test_all_bad_of_one_kind(restore: Restore, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    assert restore("image", "*.png", "-o", "out").exit_code == 3


def test_target_that_cannot_be_written(restore: Restore, picture: Picture, tmp_path: Path) -> None:
    picture()
    (tmp_path / "file").touch()
    result = restore("image", "a.png", "-o", "file/b.png")
    assert result.exit_code == 3
    assert "error: cannot write" in result.stderr


@pytest.mark.parametrize("model", ["unknown", "a.png"], ids=["missing", "no model"])
def test_bad_model(restore: Restore, picture: Picture, model: str, as_json: Callable[..., Any]) -> None:
    picture()
    result = restore("image", "a.png", "-o", "b.png", "--json", model=model)
    assert result.exit_code == 4
    parsed = as_json(result)
    assert (parsed["exit_code"], parsed["error"]["exit_code"], parsed["files"]) == (4, 4, [])
    assert result.stderr.startswith("error: ")


def test_device_that_is_not_there(restore: Restore, picture: Picture) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the CUDA build")
    result = restore("image", picture(), "-o", "b.png", "--device", "cuda")
    assert result.exit_code == 5
    assert "restore-sdk[cuda]" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DeviceMemoryError(200, 100, (64, 64)), 7, "out of memory"),
        (MemoryError("cannot allocate 5 GiB"), 7, "pass a smaller --tile"),
        (BackendError("the runtime broke"), 5, "the runtime broke"),
        (PermissionError(13, "Permission denied"), 3, "Permission denied"),
        (ZeroDivisionError("secret detail"), 1, "this is a bug: run it again with --debug"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_other_failures(
    restore: Restore, picture: Picture, failing: Callable[..., None], error: Exception, code: int, message: str
) -> None:
    failing("a.png", error)
    result = restore("image", picture(), "-o", "b.png")
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bug_outside_the_files_is_one_message_too(restore: Restore, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Restorer, "report", lambda _: 1 // 0)
    result = restore("image", picture(), "-o", "b.png")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: internal error (ZeroDivisionError: ")
    assert result.stderr.count("\n") == 1


def test_debug_shows_the_traceback(restore: Restore, picture: Picture, failing: Callable[..., None]) -> None:
    failing("a.png", ZeroDivisionError("secret detail"))
    result = restore("image", picture(), "-o", "b.png", "--debug")
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr


def test_interrupt_reports_what_was_done(
    restore: Restore, picture: Picture, failing: Callable[..., None], as_json: Callable[..., Any], tmp_path: Path
) -> None:
    for name in ("in/a.png", "in/b.png", "in/c.png"):
        picture(name)
    failing("b.png", KeyboardInterrupt())
    result = restore("image", "in", "-o", "out", "--json")
    assert result.exit_code == 130
    assert statuses(as_json(result)) == {"a.png": "restored", "b.png": "interrupted", "c.png": "not started"}
    assert "restored: 1, interrupted: 1, not started: 1" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_interrupt_between_tiles_leaves_no_half_written_target(
    restore: Restore, picture: Picture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = picture("b.png", seed=4)
    old = target.read_bytes()
    tiles = []

    def interrupt(_progress: object, done: int, total: int) -> None:
        tiles.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("restore_sdk.cli.console.FileProgress.tile_done", interrupt)
    result = restore("image", picture(height=64, width=64), "-o", target, "--tile", "32", "--overwrite")
    assert result.exit_code == 130
    assert tiles == [(1, 4), (2, 4)]
    assert result.stdout.startswith("interrupted ")
    assert target.read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_interrupt_while_the_model_opens(restore: Restore, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("restore_sdk.cli.restoring.Restorer", interrupt)
    result = restore("image", picture(), "-o", "b.png")
    assert result.exit_code == 130
    assert result.stderr == "error: interrupted\n"


def test_an_error_about_the_pixels_names_the_file(
    restore: Restore, picture: Picture, save_model: Callable[..., Path], small_spec: ModelSpec
) -> None:
    model = save_model(spec=dataclasses.replace(small_spec, min_size=16))
    picture("good.png")
    picture("low/tiny.png", height=8)
    result = restore("image", "good.png", "low/tiny.png", "-o", "out/", model=model)
    assert result.exit_code == 6
    assert "error: low/tiny.png: image has shape (8, 20, 3), expected at least 16 x 16 pixels" in result.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_pipes_and_boundless_claims_do_not_stop_a_folder(
    restore: Restore, picture: Picture, tmp_path: Path, as_json: Callable[..., Any]
) -> None:
    picture("in/a.png")
    picture("in/z.png")
    os.mkfifo(tmp_path / "in" / "b.png")
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    chunks = (make_chunk(b"IHDR", header), make_chunk(b"IDAT", zlib.compress(bytes(1000))), make_chunk(b"IEND", b""))
    (tmp_path / "in" / "c.png").write_bytes(SIGNATURE + b"".join(chunks))
    result = restore("image", "in", "-o", "out", "--json")
    assert result.exit_code == 6
    parsed = as_json(result)
    assert statuses(parsed) == {"a.png": "restored", "c.png": "failed", "z.png": "restored"}
    assert parsed["left_out"] == {"not a regular file": 1}
    assert "skipped 1 that are no regular files" in result.stderr
    assert sorted(os.listdir(tmp_path / "out")) == ["a.png", "z.png"]
    assert restore("image", "in/b.png", "-o", "b.png").exit_code == 3


@pytest.mark.parametrize("command", ["video", "camera"])
@pytest.mark.parametrize("names", [["", "-o", "x.mkv"], ["in.mkv", "-o", ""]], ids=["input", "out"])
def test_an_empty_name_is_wrong_usage(restore: Restore, command: str, names: list[str]) -> None:
    result = restore(command, *names)
    assert result.exit_code == 2
    assert "is an empty name" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "command", "said"),
    [
        (["image", "--json"], "image", "Missing argument"),
        (["image", "a.png", "-o", "b.png", "--json", "--quality", "101"], "image", "100"),
        (["video", "a.mkv", "-o", "b.mkv", "--json", "--workers", "65"], "video", "64"),
        (["models", "shoe", "--json"], "models", "shoe"),
        (["models", "show", "--json"], "models show", "Missing argument"),
        (["--json"], "", "--json"),
    ],
)
def test_what_the_parser_refuses_is_json_too(
    arguments: list[str], command: str, said: str, restore: Restore, as_json: Callable[..., Any]
) -> None:
    result = restore(*arguments, model=None)
    assert result.exit_code == 2
    parsed = as_json(result)
    assert (parsed["command"], parsed["exit_code"], parsed["error"]["type"]) == (command, 2, "UsageError")
    assert said in parsed["error"]["message"]
    assert "Usage: " in result.stderr


@pytest.mark.parametrize("arguments", [["image"], ["image", "--", "--json"]], ids=["no flag", "a file's name"])
def test_without_the_flag_stdout_stays_empty(arguments: list[str], restore: Restore) -> None:
    result = restore(*arguments, model=None)
    assert (result.exit_code, result.stdout) == (2, "")
