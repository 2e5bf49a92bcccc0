"""Odd values, odd files and a cache full of rubbish: a typed error or a word about it, never a hang, never a traceback."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from restore_sdk.backends import choice
from restore_sdk.backends.engine_file import MAGIC, BadEngineFileError, digest_of, read_engine
from restore_sdk.backends.engine_inventory import entries, prune
from restore_sdk.backends.engine_plan import read_plan
from restore_sdk.backends.onnx_file import read_onnx
from restore_sdk.backends.onnx_runtime import open_onnxruntime_rtx, open_onnxruntime_tensorrt
from restore_sdk.backends.opening import open_backend
from restore_sdk.backends.torch_file import read_program
from restore_sdk.errors import DeviceUnavailableError, ModelDamagedError, OptionsError
from restore_sdk.restorer import Restorer


@pytest.mark.parametrize("backend", ["auto", "onnxruntime"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("build", "foo"), ("build", None), ("build", []), ("finite", "foo"), ("finite", True), ("finite", {}), ("on_progress", 3)],
)
def test_what_only_tensorrt_looks_at_is_wrong_everywhere(backend: str, name: str, value: Any) -> None:
    with pytest.raises(OptionsError) as caught:
        Restorer(backend=backend, **{name: value})
    assert caught.value.name == name


@pytest.mark.parametrize("opener", [open_onnxruntime_tensorrt, open_onnxruntime_rtx])
def test_a_gpu_backend_is_not_replaced_by_the_cpu(small_model: Path, opener: Any) -> None:
    with pytest.raises(OptionsError, match="runs on NVIDIA GPUs") as caught:
        opener(small_model, device="cpu")
    assert caught.value.name == "device"


def test_the_remedy_without_a_gpu_is_one_that_works(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceUnavailableError, match="pass backend='onnxruntime'"):
        open_onnxruntime_tensorrt(small_model)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
@pytest.mark.parametrize("name", ["model.onnx", "model.plan", "model.pt2"])
def test_a_pipe_is_no_model(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ModelDamagedError, match="not a regular file"):
        open_backend(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
@pytest.mark.parametrize("read", [read_onnx, partial(read_plan, sha256="0" * 64), partial(read_program, sha256="0" * 64)])
def test_no_reader_waits_for_a_pipe(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Also where nobody has looked at the path before, as in export."""
    pipe = tmp_path / "model.plan"
    os.mkfifo(pipe)
    (tmp_path / "model.plan.json").write_text('{"schema": 1, "spec": {}, "build": {"api": "tensorrt"}}', encoding="utf-8")
    with pytest.raises(ModelDamagedError, match=r"cannot be read \(it is not a regular file\)"):
        read(pipe)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this platform has no device without an end")
def test_no_device_is_read_to_its_end() -> None:
    with pytest.raises(ModelDamagedError, match="not a regular file"):
        read_onnx(Path("/dev/zero"))


@pytest.mark.parametrize("spec", [None, {}, "spec"])
def test_a_backend_without_a_spec_is_none(spec: object) -> None:
    class Nothing:
        infer = None

    backend: Any = Nothing()
    backend.spec = spec
    with pytest.raises(OptionsError, match="an opened Backend"):
        Restorer(backend)


def written(folder: Path, facts: dict[str, Any], payload: bytes = b"engine", **changes: object) -> Path:
    head = {"key": facts, "payload_sha256": hashlib.sha256(payload).hexdigest(), "payload_size": len(payload), **changes}
    path = folder / f"{digest_of(facts)}.engine"
    path.write_bytes(MAGIC + json.dumps(head).encode() + b"\n" + payload)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("seconds", [10**400, float("inf"), float("nan"), -1, "long", None])
def test_a_time_that_is_none_counts_as_unknown(tmp_path: Path, seconds: object) -> None:
    assert read_engine(written(tmp_path, {"gpu": "any"}, seconds=seconds)).seconds == 0.0


def test_brackets_without_end_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "deep.engine"
    path.write_bytes(MAGIC + b"[" * 60_000 + b"\n")
    path.chmod(0o600)
    with pytest.raises(BadEngineFileError, match="damaged"):
        read_engine(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_a_cache_full_of_what_is_no_file(tmp_path: Path) -> None:
    sound = written(tmp_path, {"gpu": "any"})
    os.mkfifo(tmp_path / "pipe.engine")
    (tmp_path / "folder.engine").mkdir()
    (tmp_path / "loop.engine").symlink_to(tmp_path / "loop.engine")
    (tmp_path / "notes.txt").write_text("not ours", encoding="utf-8")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    found = {entry.path.name: entry.problem for entry in entries(tmp_path)}
    assert found.pop(sound.name) is None
    assert set(found) == {"pipe.engine", "folder.engine", "loop.engine"}
    assert all(found.values())
    (tmp_path / "full.engine").mkdir()
    (tmp_path / "full.engine" / "whose").touch()
    assert {path.name for path in prune(tmp_path, 1 << 20)} == {"pipe.engine", "loop.engine", "folder.engine"}
    assert {path.name for path in tmp_path.iterdir()} == {sound.name, "full.engine", "notes.txt"}
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_measurements_without_end_count_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "user_folder", lambda: tmp_path / "engines")
    (tmp_path / "speed.json").write_text("[" * 100_000, encoding="utf-8")
    assert choice.stored("0" * 64, None) is None
